"""What every section of the configuration is: a group of options with their defaults, meanings and checks."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of options; unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
