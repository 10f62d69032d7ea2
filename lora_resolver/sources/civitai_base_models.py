"""CivitAI's names for base models, as its search accepts them."""

# The values of CivitAI's `baseModels` for the families in the table (basemodel.constants.ts in civitai/civitai).
BASE_MODELS = (
    "ACE Audio", "Anima", "AuraFlow", "Chroma", "Ernie", "Flux.1 D", "Flux.1 Kontext", "Flux.1 Krea", "Flux.1 S",
    "Flux.2 D", "Flux.2 Klein 4B", "Flux.2 Klein 4B-base", "Flux.2 Klein 9B", "Flux.2 Klein 9B-base", "HiDream",
    "Hunyuan 1", "Hunyuan Video", "Illustrious", "Kolors", "Krea 2", "LTXV", "LTXV 2.3", "LTXV2", "Lumina",
    "MiniMax H3", "Mochi", "NoobAI", "PixArt E", "PixArt a", "Pony", "Pony V7", "Qwen", "Qwen 2", "SD 1.4", "SD 1.5",
    "SD 1.5 Hyper", "SD 1.5 LCM", "SD 2.0", "SD 2.0 768", "SD 2.1", "SD 2.1 768", "SD 2.1 Unclip", "SD 3", "SD 3.5",
    "SD 3.5 Large", "SD 3.5 Large Turbo", "SD 3.5 Medium", "SDXL 0.9", "SDXL 1.0", "SDXL 1.0 LCM", "SDXL Distilled",
    "SDXL Hyper", "SDXL Lightning", "SDXL Turbo", "Stable Cascade", "Wan Image 2.7", "Wan Video",
    "Wan Video 1.3B t2v", "Wan Video 14B i2v 480p", "Wan Video 14B i2v 720p", "Wan Video 14B t2v",
    "Wan Video 2.2 I2V-A14B", "Wan Video 2.2 T2V-A14B", "Wan Video 2.2 TI2V-5B", "Wan Video 2.5 I2V",
    "Wan Video 2.5 T2V", "Wan Video 2.7", "ZImageBase", "ZImageTurbo",
)  # fmt: skip
