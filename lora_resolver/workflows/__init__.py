"""What names LoRAs without being an array: workflows, pictures, prompts, and what people paste."""
