"""The tiny Stable Diffusion's parts before training: UNet, text encoder, and a tokenizer of its own."""

import torch
from diffusers import UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

__all__ = ["PROMPT_TOKENS", "make_tokenizer", "new_text_encoder", "new_unet", "widen"]

WORDS = ("an", "image", "of", "skin", "disease", "fitzpatrick", "type", "unknown")  # whole tokens; all else is spelt
PROMPT_TOKENS = 48  # the longest of the study's prompts takes 41


def make_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer with a vocabulary of its own: the prompt's fixed words, and single bytes for everything else."""
    letters = sorted(ByteLevel.alphabet())
    pieces, merges = [*letters, *(letter + "</w>" for letter in letters)], []
    for word in WORDS:
        left = word[0]
        for i, letter in enumerate(word[1:], start=2):
            right = letter + "</w>" if i == len(word) else letter
            merges.append((left, right))
            left += right
            pieces.append(left)
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=PROMPT_TOKENS)


def new_unet(side: int = 16) -> UNet2DConditionModel:
    """An untrained text-to-image UNet of 2.4 M weights for latents of 4 x side x side, side a multiple of 4.

    It attends to the prompt on its two lower levels. On the lowest alone it would be a third faster, but then the skin
    type in the prompt is not followed (tried for 4,000 steps).
    """
    return UNet2DConditionModel(
        sample_size=side,
        block_out_channels=(32, 64, 88),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,
        norm_num_groups=8,
        attention_head_dim=4,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text model of two layers, 64 wide."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            projection_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def widen(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A 9-channel inpainting UNet that starts as `unet`: the new input channels (mask, masked image) begin at zero."""
    wide = UNet2DConditionModel.from_config(unet.config, in_channels=9)
    state = unet.state_dict()
    kernel = state["conv_in.weight"]
    state["conv_in.weight"] = torch.cat([kernel, kernel.new_zeros(kernel.shape[0], 5, *kernel.shape[2:])], dim=1)
    wide.load_state_dict(state)
    return wide
