# A thin skin: every target is a command of tools/dev.py, which also works where there is no make.
#   COMFYUI_PATH=folder  use this ComfyUI instead of the development runtime
#   PYTHON=program       the Python that COMFYUI_PATH runs with
#   PACKS=folder         with checkouts of other packs, for make test-beside
#   CHECKPOINT=name LORA='[…]'   make demo with a checkpoint and an array of your own
#   PROMPT, SIZE=1024x1024, STEPS, CFG, SEED of that picture; PORT of make serve; ARGS for the program behind a target
export COMFYUI_PATH PACKS PYTHON CHECKPOINT LORA PROMPT SIZE STEPS CFG SEED PORT ARGS

LAUNCHER := $(shell command -v python3 || command -v python)

.DEFAULT_GOAL := help
.PHONY: help demo test test-beside check coverage format bench serve pictures setup comfyui clean

help demo test test-beside check coverage format bench serve pictures setup comfyui clean:
	@exec "$(LAUNCHER)" tools/dev.py $@
