"""`rlkit gan augment`: a file's examples with generated ones among them, if these may be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.gan_judgement import as_trained, judged
from rlkit.cli.gan_rows import holds_pairs, read_material, write_examples
from rlkit.cli.gan_translation import refuse
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_least, check_writable, parse
from rlkit.gan.features import FeatureConfig
from rlkit.gan.judging import JUDGE
from rlkit.observations import PlayConfig
from rlkit.plain_json import finite

if TYPE_CHECKING:
    from rlkit.cli.gan_rows import Material
    from rlkit.gan.gan import GAN, ImageToImage

REFUSED = 1
"""Exit code where the gate lets nothing through."""


@dataclass(frozen=True)
class AugmentOptions:
    """Write a file's examples with generated ones among them, a `synthetic` mark on each of these.

    A generator of labelled examples fills up the rare classes towards the largest. It is judged by
    the file first, as `rlkit gan evaluate` does, and what it makes of each of these classes by
    itself. One that turns pictures into others changes some of them; the verdict on it is in its
    file. Where the gate says no, nothing is written and the exit code is 1.
    """

    generator: Positional[Path]
    """As `rlkit gan train` wrote it."""
    source: Positional[str]
    """The file (.npz), as `rlkit gan train` takes one. Of what was generated for it before, as its
    marks tell, nothing is kept."""
    output: Path
    """The new file (.npz); an older one is replaced."""
    max_share: float = 0.25
    """Of generated examples among all that are written, at most, in (0, 1)."""
    truncation: float = 1.0
    """In (0, 1]: a factor on the latents, in the judgement as in the file; see `rlkit gan
    sample`."""
    learnt: str | None = None
    """What the generator learnt from, to find copies of it where the file is another one."""
    judge: FeatureConfig = field(default_factory=lambda: JUDGE)
    """How the features and the classifier learn, by default as they did for training."""
    seed: int = 0
    """Of what is generated, and of the judgement."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


@dataclass(frozen=True)
class Augmented:
    """What is to be written, if anything, and what was found."""

    rows: np.ndarray | None
    """(count, *shape), those of the file first; None where nothing may be used."""
    labels: np.ndarray | None
    """(count,), or None."""
    synthetic: np.ndarray
    """(count,) bool, what was generated; that of the file where nothing may be used."""
    reasons: tuple[str, ...]
    """What speaks against using what was generated, of all or of some classes."""
    verdicts: dict[str, Any]
    """Plain JSON data."""


def run(arguments: Sequence[str]) -> int:
    """Augment as `arguments` say."""
    options = parse(AugmentOptions, arguments, "gan augment")
    check_writable("--output", options.output, ".npz")
    check_least(options, seed=0)
    if not 0.0 < options.max_share < 1.0:
        raise Mistake(f"--max-share must be in (0, 1), got {options.max_share}")
    if not 0.0 < options.truncation <= 1.0:
        raise Mistake(f"--truncation must be in (0, 1], got {options.truncation}")
    if not options.source.endswith(".npz") or holds_pairs(options.source):
        kind = "pairs" if holds_pairs(options.source) else "no file"
        raise Mistake(f"name a file of examples (.npz) to augment; {options.source} is {kind}")
    from rlkit.gan.gan import GAN
    from rlkit.gan.gan_file import load

    generator = load(options.generator)
    console = Console(stderr=True)
    material = read_material(options.source, PlayConfig(), console)
    if isinstance(generator, GAN):
        features = as_trained(generator.provenance.get("judge"), FeatureConfig, JUDGE)
        trained = AugmentOptions(options.generator, options.source, options.output, judge=features)
        options = parse(AugmentOptions, arguments, "gan augment", trained)
        augmented = _filled(generator, material, options, console)
    else:
        why = f"is for generators of examples; {options.generator} turns pictures into others"
        refuse(arguments, ("--truncation", "--learnt", "--judge"), why)
        augmented = _translated(generator, material, options)
    if augmented.rows is not None:
        write_examples(
            options.output,
            augmented.rows,
            augmented.labels,
            synthetic=augmented.synthetic,
            **_beside(material, len(augmented.rows)),
        )
    _tell(options, material, augmented)
    return REFUSED if augmented.rows is None else 0


def _filled(gan: GAN, material: Material, options: AugmentOptions, console: Console) -> Augmented:
    """The examples, and generated ones of the classes that are rare among them."""
    import torch

    from rlkit.gan.class_filling import judge_classes, lacking
    from rlkit.gan.synthetic_share import SyntheticShare

    labels = material.labels
    if gan.classes_ is None:
        raise Mistake(f"{options.generator} was trained without labels, and can fill up no class")
    if labels is None:
        raise Mistake(f"{options.source} has no labels: there is no rare class to fill up")
    gaps = {label: gap for label, gap in lacking(labels).items() if label in gan.classes_}
    if not gaps:
        raise Mistake(f"{options.source} has no rare class that {options.generator} knows")
    learnt = None
    if options.learnt is not None:
        learnt = partial(read_material, options.learnt, PlayConfig(), console)
    judgement = judged(
        gan,
        material,
        features=options.judge,
        truncation=options.truncation,
        seed=options.seed,
        learnt=learnt,
    )
    verdict = judgement.verdict
    told: dict[str, Any] = {"verdict": verdict.to_json()}
    untouched = np.zeros(len(labels), bool)
    if not verdict.passed or judgement.learnt is None:
        return Augmented(None, None, untouched, verdict.reasons, told)
    rows, kinds = judgement.learnt
    if kinds is None:
        raise Mistake(
            f"{options.learnt} has no labels, by which to find what a class was learnt from"
        )
    with blaming_user(ValueError):
        of_classes = judge_classes(
            gan,
            material.data,
            labels,
            judgement.parts,
            wanted=tuple(gaps),
            learnt=(rows, kinds),
            extractor=judgement.extractor,
            name_of=material.name_of,
            truncation=options.truncation,
            seed=options.seed,
        )
    told["class_verdicts"] = {
        material.name_of(label): each.to_json() for label, each in of_classes.items()
    }
    reasons = tuple(reason for each in of_classes.values() for reason in each.reasons)
    usable = [label for label, each in of_classes.items() if each.passed]
    if not usable:
        return Augmented(None, None, untouched, reasons, told)
    most = int(options.max_share / (1 - options.max_share) * len(labels)) + 1
    wanted = np.repeat(usable, [min(gaps[label], most) for label in usable])
    # Another seed than that of the samples that were judged.
    made = gan.sample(len(wanted), wanted, options.seed + 1, truncation=options.truncation)
    share = SyntheticShare(options.max_share)
    share.admit(torch.from_numpy(made), torch.from_numpy(wanted), verdict)
    filled = share.oversampled(
        torch.from_numpy(material.data),
        torch.from_numpy(labels),
        random=torch.Generator().manual_seed(options.seed),
    )
    return Augmented(
        filled.rows.numpy(), filled.labels.numpy(), filled.synthetic.numpy(), reasons, told
    )


def _translated(estimator: ImageToImage, material: Material, options: AugmentOptions) -> Augmented:
    """The pictures, a share of them translated."""
    from rlkit.gan.translation_judging import told_against

    pictures = material.data
    if pictures.shape[1:] != estimator.shape_ or estimator.outputs_ != estimator.shape_[0]:
        raise Mistake(
            f"{options.generator} turns pictures of shape {estimator.shape_} into such of"
            f" {estimator.outputs_} channels, and those of {options.source} are"
            f" {pictures.shape[1:]}"
        )
    synthetic = np.zeros(len(pictures), bool)
    told: dict[str, Any] = {"verdict": estimator.provenance.get("verdict")}
    reasons = told_against(estimator.provenance)
    if reasons:
        return Augmented(None, None, synthetic, reasons, told)
    random = np.random.default_rng(options.seed)
    chosen = random.permutation(len(pictures))[: int(options.max_share * len(pictures))]
    synthetic[chosen] = True
    rows = pictures.copy()
    rows[synthetic] = estimator.transform(pictures[synthetic], options.seed)
    return Augmented(rows, material.labels, synthetic, (), told)


def _beside(material: Material, count: int) -> dict[str, np.ndarray]:
    """What the file says beside its examples; each new one came about by itself."""
    beside = dict(material.beside)
    groups = beside.get("groups")
    if groups is not None:
        new = np.arange(count - len(groups)) + groups.max(initial=-1) + 1
        beside["groups"] = np.concatenate((groups, new))
    return beside


def _tell(options: AugmentOptions, material: Material, augmented: Augmented) -> None:
    """Print what was written, or why nothing was."""
    written, synthetic = augmented.rows is not None, augmented.synthetic
    counts: dict[str, dict[str, int]] = {}
    labels = augmented.labels if written else material.labels
    if labels is not None:
        for label in np.unique(labels).tolist():
            of_class = synthetic[labels == label]
            counts[material.name_of(label)] = {
                "real": int((~of_class).sum()),
                "synthetic": int(of_class.sum()),
            }
    share = float(synthetic.mean()) if len(synthetic) else 0.0
    if options.json:
        told = {
            "file": str(options.output) if written else None,
            "generator": str(options.generator),
            "data": options.source,
            "passed": written,
            "reasons": list(augmented.reasons),
            "examples": len(synthetic),
            "synthetic": int(synthetic.sum()),
            "share": share,
            "max_share": options.max_share,
            "truncation": options.truncation,
            "seed": options.seed,
            "classes": counts,
            **augmented.verdicts,
        }
        print(json.dumps(finite(told)))
        return
    if written:
        print(
            f"{options.output}: {len(synthetic):,} examples, {int(synthetic.sum()):,} of them"
            f" generated ({share:.1%}, at most {options.max_share:.1%})"
        )
        for name, of_class in counts.items():
            print(f"  {name}: {of_class['real']:,} real, {of_class['synthetic']:,} generated")
    else:
        print(f"{options.generator} does not pass the gate, and nothing was written:")
    for reason in augmented.reasons:
        print(f"- {reason}")
