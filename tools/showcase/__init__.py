"""Tiny Showcase: a toy SD3-family checkpoint, five style LoRAs, and the code that made them from nothing.

The files to use lie beside this module (README.md says how). The code, from drawing to files:

    vocabulary, canvas, backgrounds, objects, sprites   draw captioned sprites, layer by layer
    styles                                              re-draw the layers in a style
    captions, text_encoder                              words to token ids to the vector the model reads
    lora_layers, base_model                             the network, and LoRAs on its layers
    flow, muon, batches, pacing                         what both trainings share
    train_base, train_loras                             the two trainings
    vae, export                                         hand-written VAE, and files as ComfyUI reads them
    preview, style_previews                             pictures to look at
    work_folder, train                                  where the stages keep their files; the command line
"""
