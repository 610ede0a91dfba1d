"""Files of a model in our own form, and the key that a folded model has in its configuration."""

FORM_FILE = "encore.json"
HEADS_FILE = "heads.safetensors"
RULES_FILE = "rules.yaml"  # what scores mean, not what they are: a corrected scale or direction needs no new scores
FIT_FILE = "fit.json"  # how well heads do: of one fit, so that it is not copied with a backbone
TRAIN_FILE = "train.json"  # the same of a training

# Of single families, beside the files of any model: patterns that everybody needs who asks what a model is, and that
# must cost nobody the import of torch. Fetching a pickle runs nothing.
LABEL_DISTRIBUTION_FILE = "regression_layer.pt"
FAMILY_FILES = (LABEL_DISTRIBUTION_FILE,)

ADAPTER_FILE = "adapter_config.json"  # whatever lies beside it, the folder is an adapter's

FACTS = "encore_ray"  # key of config.json
