"""The second compilation of a program comes from the folder."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from a3dcae_jax.common.compilation_cache import use_compilation_cache
from a3dcae_jax.common.errors import UserError


@pytest.fixture
def events():
  seen = []
  listen = lambda event, **_: seen.append(event)  # noqa: E731
  before = {
    name: getattr(jax.config, name)
    for name in ('jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs')
  }
  jax.monitoring.register_event_listener(listen)
  yield seen
  jax.monitoring.unregister_event_listener(listen)
  for name, value in before.items():
    jax.config.update(name, value)
  jax_cache.reset_cache()


def test_the_second_compilation_is_read(tmp_path, events):
  use_compilation_cache(str(tmp_path / 'cache'), min_compile_s=0.0)
  compile_it = lambda: jax.jit(lambda x: jnp.sin(x) * 1.2345).lower(jnp.ones(3)).compile()  # noqa: E731
  compile_it()
  assert list((tmp_path / 'cache').iterdir()) and '/jax/compilation_cache/cache_hits' not in events
  jax.clear_caches()
  events.clear()
  compile_it()
  assert '/jax/compilation_cache/cache_hits' in events


def test_a_folder_that_cannot_be_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='train.compilation_cache_dir .*file/cache: Not a directory'):
    use_compilation_cache(str(tmp_path / 'file' / 'cache'))
