"""From the config's data subtree to an opened frame store."""

from a3dcae_jax.data.ingest import prepare_store

DEFAULT_STORE_DIR = 'data/stores'


def prepare_data(*, name, root, store_dir, height, width, label_set, options):
  """The frame store of the config's data set, made first where it is not there yet. `store_dir` '' is ./data/stores."""
  return prepare_store(name, root=root, store_dir=store_dir or DEFAULT_STORE_DIR, height=height, width=width, label_set=label_set,
                       options=dict(options))
