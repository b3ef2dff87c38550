"""The contracts between the parts of a pipeline: one file a kind, and a plain function satisfies
most of them.

Tensors of latents are float32 (batch, channels, ...); one entry of the batch is one image.
"""

from ldm_core.contracts.attention import (
    Attention,
    Kernel,
    as_kernel,
    first_of,
    lacking,
    runs_on,
    torchs_own,
)
from ldm_core.contracts.autoencoder import (
    Decoder,
    Encoder,
    as_decoder,
    as_encoder,
    decodes,
    encodes,
)
from ldm_core.contracts.conditioning import (
    REQUIRED,
    Conditioning,
    Input,
    as_conditioning,
)
from ldm_core.contracts.converter import Converter, Phase, PlaceNames, Speedup, as_converter
from ldm_core.contracts.family import Family, Model, ModelInfo, OtherModel
from ldm_core.contracts.files import FileName, InputPath, OutputPath
from ldm_core.contracts.guidance import MODELS_OWN, Bound, Guidance, as_guidance
from ldm_core.contracts.latents import Axis, Extent, LatentShape, LatentSpace
from ldm_core.contracts.medium import Medium, Shown, Writer, writes
from ldm_core.contracts.network import Call, Condition, Network, Row, Unequal, concatenate, take
from ldm_core.contracts.observer import Observer, as_observer
from ldm_core.contracts.place import Part, PartInfo, Place
from ldm_core.contracts.record import Record
from ldm_core.contracts.run import Evaluation, Plan, Request, Run, RunHooks, Seed, Step
from ldm_core.contracts.scheduler import (
    Scheduler,
    Walk,
    as_scheduler,
    goes_with,
    needs_learned_variance,
    of_order,
    starts_with,
    stochastic,
    unit_variance,
)
from ldm_core.contracts.spacing import Spacing, as_spacing, sees_latent
from ldm_core.contracts.wrapper import Wrapper, as_wrapper, neutral_at
from ldm_core.numerics.callables import Denoise, Noise, VariancePredicting, learned_variance
from ldm_core.numerics.grid import Grid

__all__ = [
    "MODELS_OWN",
    "REQUIRED",
    "Attention",
    "Axis",
    "Bound",
    "Call",
    "Condition",
    "Conditioning",
    "Converter",
    "Decoder",
    "Denoise",
    "Encoder",
    "Evaluation",
    "Extent",
    "Family",
    "FileName",
    "Grid",
    "Guidance",
    "Input",
    "InputPath",
    "Kernel",
    "LatentShape",
    "LatentSpace",
    "Medium",
    "Model",
    "ModelInfo",
    "Network",
    "Noise",
    "Observer",
    "OtherModel",
    "OutputPath",
    "Part",
    "PartInfo",
    "Phase",
    "Place",
    "PlaceNames",
    "Plan",
    "Record",
    "Request",
    "Row",
    "Run",
    "RunHooks",
    "Scheduler",
    "Seed",
    "Shown",
    "Spacing",
    "Speedup",
    "Step",
    "Unequal",
    "VariancePredicting",
    "Walk",
    "Wrapper",
    "Writer",
    "as_conditioning",
    "as_converter",
    "as_decoder",
    "as_encoder",
    "as_guidance",
    "as_kernel",
    "as_observer",
    "as_scheduler",
    "as_spacing",
    "as_wrapper",
    "concatenate",
    "decodes",
    "encodes",
    "first_of",
    "goes_with",
    "lacking",
    "learned_variance",
    "needs_learned_variance",
    "neutral_at",
    "of_order",
    "runs_on",
    "sees_latent",
    "starts_with",
    "stochastic",
    "take",
    "torchs_own",
    "unit_variance",
    "writes",
]
