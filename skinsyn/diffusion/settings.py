"""The wing's records: what is asked of a fine-tuning, a GAN and a shard of synthetic images, and what identifies them.

Each field says what it decides the bytes of: a UNet's task, `gan`, or a method of generation. Keys follow from that.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skinsyn.run.records import Record, setting

__all__ = [
    "FAST", "METHODS", "SCHEDULERS", "TASKS", "ByRun", "Entry", "FineTune", "Gan", "GanTraining",
    "Learning", "Lora", "Model", "Pretrain", "Prior", "Reference", "Sampling", "ShardTask", "Taught", "Tuning",
    "read_plan", "trained",
]  # fmt: skip

TASKS = ("text-to-image", "inpainting")  # of a UNet
METHODS = {  # of generation → the generator's task
    "text-to-image": "text-to-image", "img2img": "text-to-image", "inpaint": "inpainting",
    "in-then-outpaint": "inpainting", "gan": "gan",
}  # fmt: skip
SCHEDULERS = {  # → diffusers' class
    "dpm-solver": "DPMSolverMultistepScheduler", "ddim": "DDIMScheduler", "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}  # fmt: skip
# The preset `fast`: this share of the steps; guidance in the first share of those (at low noise it does little:
# Kynkäänniemi et al. 2024, arXiv 2404.07724); outpainting takes the latents of inpainting, not its decoded images.
FAST = {"steps": 0.3, "guided": 0.6}
STRENGTHS = {  # method → the field that holds its strength
    "inpaint": "strength_inpaint", "in-then-outpaint": "strength_outpaint", "img2img": "strength_img2img",
}  # fmt: skip
TRAINED = (*TASKS, "gan")
DIFFUSED = tuple(method for method, task in METHODS.items() if task in TASKS)
PAINTED = tuple(method for method, task in METHODS.items() if task == "inpainting")
EVERY = tuple(METHODS)


@dataclass(frozen=True)
class Reference(Record):
    """A base model by name, found again by any worker."""

    name: str = setting("", "tiny (shipped) | pretrain (here) | folder | hub id")
    revision: str = setting("", "of a hub id")
    autoencoder: str = setting("", "folder or name of another autoencoder; empty for the base's own")
    offline: bool = setting(True, "never ask the network")
    unit: str = setting("", "key of the unit 'base_model', where it was pretrained here")
    digest: str = setting("", "of the weights")


@dataclass(frozen=True)
class Pretrain(Record):
    """How a tiny base is pretrained; defaults as of the shipped weights."""

    start: str = setting("", "base whose tokenizer, text encoder and UNet it starts from; empty for none")
    steps: int = setting(3600, "of the text-to-image UNet", low=1)
    inpainting_steps: int = setting(800, "of the inpainting UNet", low=1)
    autoencoder_steps: int = setting(1600, "of a new autoencoder", low=1)
    batch: int = setting(16, "images per step", low=1)
    lr: float = setting(1.5e-3, "learning rate of text-to-image; inpainting has half of it", low=0)
    threads: int = setting(2, "torch threads", low=1)


@dataclass(frozen=True)
class Lora(Record):
    """A low-rank change of the UNet's attention (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = setting(about="of the change", low=1)
    alpha: int | float = setting(0, "scale; the rank where 0", low=0)
    peft: str = setting("", "version of the library that makes it; the installed one where empty")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alpha", self.alpha or self.rank)
        object.__setattr__(self, "peft", self.peft or importlib.metadata.version("peft"))


@dataclass(frozen=True)
class Prior(Record):
    """Prior preservation (Ruiz et al. 2022, arXiv 2208.12242, section 3.2)."""

    weight: int | float = setting(1.0, "of the prior's loss", low=1e-12)
    images: int = setting(100, "of skin disease in general, by the untouched base", low=1, high=1000)
    steps: int = setting(50, "denoising steps of these", low=1)

    def sampling(self) -> "Sampling":
        """How its images are drawn."""
        return Sampling(sampling_steps=self.steps, guidance_scale=3.0)


@dataclass(frozen=True, kw_only=True)
class Owner(Record):
    """Whose a model is: all runs', or one run's own."""

    n: int = setting(0, "real images per class that a run's own model learned from; 0 for all", low=0)
    run: int = setting(-1, "whose own model it is; -1 where all runs share it", low=-1)


@dataclass(frozen=True, kw_only=True)
class Model(Owner):
    """What identifies a generator in a study."""

    generator: str = setting("fine-tuned", "kind", choices=("fine-tuned", "base"))
    task: str = setting("text-to-image", "what it was trained for", choices=TRAINED)
    condition: str = setting(about="that it knows; 'all' for the one model of all")


@dataclass(frozen=True, kw_only=True)
class Learning(Record):
    """Settings that fine-tuning and GANs share, and what one training learns from."""

    image_size: int = setting(512, "side of images", unit="pixels", low=1, decides=TRAINED)
    steps: int = setting(0, "optimiser steps; 0 counts epochs instead", low=0, decides=TRAINED)
    batch_size: int = setting(4, "images per step", low=1, decides=TRAINED)
    flip: bool = setting(True, "mirror half of the images", decides=TRAINED)
    seed: int = setting(0, "root of every other seed", decides=TRAINED)
    prompt: str = setting("An image of {condition}, a skin disease", "what every image is called", decides=TASKS)
    add_skin_type: bool = setting(False, "end the prompt with the skin type", decides=TASKS)
    checkpoint_every: int = setting(0, "steps after which a stopped training can go on; changes no byte", low=0)


@dataclass(frozen=True, kw_only=True)
class FineTune(Learning):
    """Settings of fine-tuning; fields as in the parameters cell of 02, defaults as in the study."""

    inpainting_steps: int = setting(0, "of inpainting models, where not as many as steps", low=0)
    epochs: int = setting(4, "passes over the images, where steps is 0", low=1, decides=TASKS)
    learning_rate: float = setting(5e-6, "of AdamW, constant", low=0, decides=TASKS)
    accumulation: int = setting(1, "batches whose gradients are added before a step", low=1, decides=TASKS)
    lora: Lora | None = setting(None, "a low-rank change instead of the whole UNet", decides_if_changed=TASKS)
    prior: Prior | None = setting(None, "prior preservation", decides_if_changed=TASKS)
    gradient_checkpointing: bool = setting(False, "less memory, more time", decides_if_changed=TASKS)
    compile: bool = setting(False, "full batches through torch.compile", decides_if_changed=TASKS)
    crop_scale: list = setting([0.9, 1.1], "of random resized crops", decides=TASKS)
    crop_ratio: list = setting([0.9, 1.1], "width to height of these crops", decides=TASKS)
    jitter: float = setting(0.05, "of brightness, contrast, saturation and hue", low=0, decides=TASKS)
    mask_shares: dict = setting({"rectangle": 0.5, "ellipse": 0.5}, "of kinds of mask", decides=["inpainting"])
    mask_fraction: float = setting(0.25, "the centre square's margin", low=0, high=0.5, decides=["inpainting"])
    dtype: str = setting("fp32", "arithmetic", choices=("fp32", "bf16"), decides=TASKS)


@dataclass(frozen=True, kw_only=True)
class Training(Learning, Owner):
    """One training of a generator: of what, on which images, from which base, for whom."""

    task: str = setting(about="what is trained", choices=TRAINED, decides=TRAINED)
    condition: str = setting(about="that it learns; 'all' for the one model of all", decides=TRAINED)
    images: list = setting(about="rows: image_id, condition, fst, unit, row", decides=TRAINED)
    base: Reference = setting(Reference(), "that it starts from, none of a GAN; in the key by its digest")
    threads: int = setting(1, "torch threads", low=1)

    def optimiser_steps(self) -> int:
        """How many it takes."""
        return self.steps


@dataclass(frozen=True, kw_only=True)
class Tuning(FineTune, Training):
    """One fine-tuning: a task of `dreambooth.fine_tune`."""

    def optimiser_steps(self) -> int:
        """`steps` where above 0, else those of `epochs` over its images.

        >>> rows = [{"image_id": str(i)} for i in range(9)]
        >>> Tuning(task="inpainting", condition="psoriasis", images=rows, batch_size=4, epochs=4).optimiser_steps()
        12
        """
        per_epoch = -(-len(self.images) // self.batch_size)
        return self.steps or max(1, -(-per_epoch * self.epochs // self.accumulation))


@dataclass(frozen=True)
class Gan(Record):
    """Settings of the GAN baseline."""

    equal: str = setting("steps", "budget that equals fine-tuning's", choices=("steps", "arithmetic"))
    steps: int = setting(0, "optimiser steps; by `equal` where 0", low=0)
    width: int = setting(32, "channels at the full resolution", low=8)


@dataclass(frozen=True, kw_only=True)
class GanTraining(Training):
    """One training of a GAN: a task of `gan.train`."""

    width: int = setting(32, "channels at the full resolution", low=8, decides=["gan"])


def trained(about: Mapping[str, Any]) -> Training:
    """The training that a kept generator's manifest describes."""
    return (GanTraining if about["task"] == "gan" else Tuning).read(about)


@dataclass(frozen=True)
class ByRun(Record):
    """Models of each run's own."""

    n: list = setting(about="numbers of real images per class; 0 for all, with another seed")
    runs: int = setting(about="first runs that have models of their own", low=0)


@dataclass(frozen=True, kw_only=True)
class Sampling(Record):
    """Settings of generation; fields as in the parameters cell of 03, defaults as in the study."""

    sampling_steps: int = setting(50, "denoising steps", low=1, decides=DIFFUSED)
    guidance_scale: float = setting(3.0, "weight of the prompt; 1 is without guidance", decides=DIFFUSED)
    dtype: str = setting("fp32", "arithmetic", choices=("fp32", "bf16"), decides=DIFFUSED)
    batch_size: int = setting(16, "images sampled together", low=1, decides=EVERY)
    mask_fraction: float = setting(0.25, "the centre square's margin", low=0, high=0.5, decides=PAINTED)
    strength_inpaint: float = setting(0.97, "noise of inpainting", low=0, high=1, decides=["inpaint"])
    strength_outpaint: float = setting(0.95, "noise of outpainting", low=0, high=1, decides=["in-then-outpaint"])
    outpaint_border: float = setting(1 / 32, "share shown", low=0, high=0.5, decides=["in-then-outpaint"])
    strength_img2img: float = setting(0.6, "noise of img2img", low=0, high=1, decides=["img2img"])
    scheduler: str = setting("dpm-solver", "sampler", choices=SCHEDULERS, decides_if_changed=DIFFUSED)
    preset: str = setting("exact", "speed", choices=("exact", "fast"), decides_if_changed=DIFFUSED)
    near_copy_distance: int = setting(0, "pHash bits up to which an image is a near-copy; -1 for never", decides=EVERY)
    seed: int = setting(0, "root of every other seed", decides=EVERY)

    @property
    def fast(self) -> bool:
        """True in the preset `fast`."""
        return self.preset == "fast"

    @property
    def steps(self) -> int:
        """Denoising steps of the schedule."""
        return max(2, round(self.sampling_steps * FAST["steps"])) if self.fast else self.sampling_steps

    def strength(self, method: str) -> float:
        """Share of the noise schedule that a method goes through."""
        return getattr(self, STRENGTHS[method]) if method in STRENGTHS else 1.0

    def passes(self, method: str) -> float:
        """Passes through the UNet per image."""
        guided = 0 if self.guidance_scale <= 1 else FAST["guided"] if self.fast else 1
        return int(self.steps * self.strength(method)) * (1 + guided) if method in DIFFUSED else 0.0

    def arguments(self) -> dict[str, Any]:
        """What a diffusers pipeline takes of it."""
        return {"num_inference_steps": self.steps, "guidance_scale": self.guidance_scale}


@dataclass(frozen=True, kw_only=True)
class Entry(Record):
    """One entry of 03's plan: what to make, how often."""

    method: str = setting(about="of generation", choices=METHODS)
    generator: str = setting(about="kind of model", choices=("fine-tuned", "base"))
    scope: str = setting(about="one model per condition, or the one of all", choices=("condition", "all"))
    replicates: int = setting(about="images per source", low=0)
    sources: int | None = setting(None, "at most so many per condition, first by image_id", low=0)
    rank: int | None = setting(None, "only sources whose rank in the frame is lower", low=0)
    by_run: int | None = setting(None, "models of each run's own with so many real images per class", low=0)


def read_plan(plan: Sequence[Mapping[str, Any]], ratio: int = 0) -> list[Entry]:
    """The entries of 03's plan. ratio: where above 0, replicates of all. Raises ValueError naming the entry."""
    entries = [Entry.read(entry, f"plan entry {dict(entry)}") for entry in plan]
    return [entry.but(replicates=ratio) for entry in entries] if ratio else entries


@dataclass(frozen=True, kw_only=True)
class Taught(Record):
    """A generator as generation needs it: samples are prompted as it was taught."""

    key: str = setting("", "of the kept generator; empty for the untouched base")
    weights: str = setting("", "digest of its bytes")
    base: Reference = setting(Reference(), "that it was taught from; in the key by its digest")
    image_size: int = setting(512, "side of images", unit="pixels", low=1, decides=EVERY)
    prompt: str = setting("An image of {condition}, a skin disease", "of every image", decides=DIFFUSED)
    add_skin_type: bool = setting(False, "end the prompt with the skin type", decides=DIFFUSED)


@dataclass(frozen=True, kw_only=True)
class ShardTask(Sampling, Taught, Owner):
    """One shard of synthetic images: a task of `generation.generate`."""

    method: str = setting(about="of generation", choices=METHODS, decides=EVERY)
    generator: str = setting(about="kind of model", choices=("fine-tuned", "base"), decides=EVERY)
    scope: str = setting(about="of the model", choices=("condition", "all"), decides=EVERY)
    condition: str = setting(about="of its images", decides=EVERY)
    replicate: int = setting(0, "number of the replicate", low=0, decides=EVERY)
    parents: list = setting(about="rows: image_id, condition, fst, fst_group, unit, row", decides=EVERY)
    first: "ShardTask | None" = setting(None, "the shard that it starts from; in the key by its own")
    threads: int = setting(1, "torch threads", low=1)

    @property
    def own(self) -> dict[str, int]:
        """n and run where the model is a run's own, else {}."""
        return {"n": self.n, "run": self.run} if self.run >= 0 else {}

    @property
    def hands_on(self) -> bool:
        """True where its latents are kept for the stage after it: inpainting in the preset `fast`."""
        return self.fast and self.method == "inpaint"

    def stages(self) -> "list[ShardTask]":
        """Its first stage, where it has one, and itself."""
        return [self.first, self] if self.first else [self]
