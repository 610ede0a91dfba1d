"""Names of the reports that lie beside a model: of one fit or training each, so that no copy of a model takes them."""

FIT_FILE = "fit.json"  # how well fitted heads do
TRAIN_FILE = "train.json"  # how well a trained model does
