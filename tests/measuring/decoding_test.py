"""The rates of decoding: all ways of reading see all frames."""

import pytest

from a3dcae_jax.data.video_file import read_video
from a3dcae_jax.measuring import decoding


@pytest.mark.parametrize('codec', decoding.CODECS)
def test_every_way_of_reading_is_timed(tmp_path, codec):
  footage = decoding.make_footage(tmp_path, codec, (64, 48), 5)
  seen = []

  def count(path):
    seen.append(sum(1 for _ in read_video(path)))

  rows = decoding.measure_footage(footage, {'count': count}, reps=1)
  names = [row['reading'] for row in rows]
  assert 'prepare, 1 video' in names and 'count, 1 video' in names
  assert set(seen) == {5}
  best = max(row['share_of_decoder'] for row in rows if row['reading'].startswith('decoded'))
  assert best == 1
  assert '64x48' in decoding.describe(rows[0])
