"""scikit-learn's manners for classes that a frozen dataclass configures, without scikit-learn.

`sklearn.base.clone`, pipelines and searches need `get_params`, `set_params` and, since version 1.7,
`__sklearn_tags__`, which alone imports scikit-learn, and only scikit-learn calls it.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

if TYPE_CHECKING:
    from sklearn.utils import Tags

ConfigT = TypeVar("ConfigT")


class NotFittedError(ValueError, AttributeError):
    """What needs a fitted estimator was asked of one that is not (as scikit-learn's own)."""


class ConfiguredEstimator(Generic[ConfigT]):
    """An estimator whose parameters are the fields of its `config`."""

    config_class: ClassVar[type[Any]]
    """Of `config`; its defaults are the estimator's."""
    estimator_type: ClassVar[str | None] = None
    """scikit-learn's name of the kind: "classifier", "regressor", or None for a transformer."""

    config: ConfigT
    """All parameters; to be replaced, by `set_params` or as a whole, never changed."""

    def __init__(self, config: ConfigT | None = None, **changes: Any) -> None:
        """config: None stands for the defaults. changes: fields of it by name.

        Raises ValueError for a field that is not there or a value that makes no sense.
        """
        self.config = self._changed(self.config_class() if config is None else config, changes)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The fields of the configuration by name; `deep` changes nothing."""
        return {field.name: getattr(self.config, field.name) for field in fields(self.config_class)}

    def set_params(self, **changes: Any) -> Self:
        """Change fields of the configuration; what was learned stays until the next `fit`."""
        self.config = self._changed(self.config, changes)
        return self

    def _changed(self, config: ConfigT, changes: dict[str, Any]) -> ConfigT:
        known = [field.name for field in fields(self.config_class)]
        unknown = [name for name in changes if name not in known]
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no parameter {', '.join(unknown)};"
                f" it has {', '.join(known)}"
            )
        return replace(config, **changes)  # type: ignore[type-var]

    def _learned(self, name: str) -> Any:
        """An attribute that `fit` sets."""
        try:
            return self.__dict__[name]
        except KeyError:
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet; call fit first"
            ) from None

    def __repr__(self) -> str:
        default = self.config_class()
        changed = [
            f"{field.name}={getattr(self.config, field.name)!r}"
            for field in fields(self.config_class)
            if getattr(self.config, field.name) != getattr(default, field.name)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Tags:
        from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags, TransformerTags

        kind = self.estimator_type
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=kind is not None),
            transformer_tags=TransformerTags() if kind is None else None,
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
        )
