"""Tiny Showcase: a toy SD3-family checkpoint, five style LoRAs, and the code that trained them from scratch.

The files to use are in this folder (README.md explains them). The code, from drawing to files:

    vocabulary, canvas, backgrounds, objects, sprites   draw captioned sprites, layer by layer
    styles                                              re-draw the layers in a style
    captions, text_encoder                              words to token IDs to the vector that the model reads
    lora_layers, base_model                             the network, and LoRAs on its layers
    flow, muon, batches, pacing                         shared by both trainings
    train_base, train_loras                             the two trainings
    vae, export                                         hand-written VAE, and files in ComfyUI's formats
    preview, style_previews                             preview pictures
    work_folder, train                                  the stages' intermediate files; the command line
"""
