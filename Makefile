# Every target is a command of tools/dev.py, which also works without make.
#   COMFYUI_PATH=folder  use this ComfyUI instead of the development runtime
#   PYTHON=program       the Python for COMFYUI_PATH
#   PACKS=folder         the checkouts of other packs, for make test-beside
#   CHECKPOINT=name LORA='[…]'   your checkpoint and array for make demo
#   PROMPT, SIZE=1024x1024, STEPS, CFG, SEED for make demo; PORT for make serve; ARGS for the program behind a target
export COMFYUI_PATH PACKS PYTHON CHECKPOINT LORA PROMPT SIZE STEPS CFG SEED PORT ARGS

LAUNCHER := $(shell command -v python3 || command -v python)

.DEFAULT_GOAL := help
.PHONY: help demo test test-beside check coverage format bench serve pictures docs setup comfyui clean

help demo test test-beside check coverage format bench serve pictures docs setup comfyui clean:
	@exec "$(LAUNCHER)" tools/dev.py $@
