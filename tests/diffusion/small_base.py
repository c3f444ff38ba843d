"""A base model of random weights, small and the same every time, in diffusers' own layout."""

from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from skinsyn.diffusion import tiny

SHAPE = {
    "sample_size": 16, "block_out_channels": (16, 32), "layers_per_block": 1, "cross_attention_dim": 16,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8, "attention_head_dim": 4,
}  # fmt: skip


def write(folder: Path) -> str:
    """Write the base and return its folder: 4 pixels to a latent, two UNets, words as in the shipped base."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = tiny.make_tokenizer()
        words = CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, projection_dim=16, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        channels = {"encoder_block_out_channels": (16,) * 3, "decoder_block_out_channels": (16,) * 3}
        parts = {
            "unet": UNet2DConditionModel(**SHAPE, in_channels=4),
            "inpainting_unet": UNet2DConditionModel(**SHAPE, in_channels=9),
            "vae": AutoencoderTiny(**channels, num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1)),
            "text_encoder": CLIPTextModel(words),
        }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / "tokenizer")
    noise = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, clip_sample=False
    )
    noise.save_pretrained(folder / "scheduler")
    return str(folder)
