"""Thresholds by the hour of the day: learnt, read, and used by `detect`."""

import json
import time

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.stream_events import count_events
from a3dcae_jax.watching import hours
from a3dcae_jax.watching.hours import learn_hours, read_hours
from a3dcae_jax.watching.sources import find_sources
from tests.watching.toy import write_toy_bundle

MIDNIGHT_S = time.mktime((2026, 3, 2, 0, 0, 0, 0, 0, -1))


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
  return write_toy_bundle(tmp_path_factory.mktemp('hours') / 'toy.bundle')


def write_scores(path, days, level_of_hour, seed=0):
  """Write scores of one frame per second, whose level changes every minute."""
  rng = np.random.default_rng(seed)
  lines = ['frame,time_s,score,event']
  scores = {hour: [] for hour in level_of_hour}
  for day in range(days):
    for hour, level in level_of_hour.items():
      own = level + np.repeat(rng.normal(0, 1, 60), 60)
      scores[hour].append(own)
      begin_s = MIDNIGHT_S + 86400 * day + 3600 * hour
      lines += [f'{3600 * hour + i},{begin_s + i:.3f},{own[i]:.9g},' for i in range(3600)]
  path.write_text('\n'.join(lines) + '\n')
  return scores


def test_each_hour_has_the_rate_of_the_bundle(bundle, tmp_path, capsys):
  scores = write_scores(tmp_path / 'scores.csv', 4, {3: 0.0, 12: 5.0})
  learn_hours(str(bundle), [str(tmp_path / 'scores.csv')], tmp_path / 'door.json')
  sources = find_sources(['door=rtsp://cam/live', 'yard=rtsp://cam/2'])
  tables = read_hours([f'door={tmp_path / "door.json"}'], sources, load_bundle(bundle))
  assert set(tables) == {'door'}
  table = tables['door']
  assert set(table) == {3, 12}
  assert table[12] - table[3] > 4
  for hour, parts in scores.items():
    # At most an event per hour of video, and more at a lower threshold.
    assert sum(count_events(part, table[hour]) for part in parts) <= 4
    assert sum(count_events(part, table[hour] - 1.0) for part in parts) > 4
  assert '03:00: threshold' in capsys.readouterr().out


def test_too_little_footage_is_refused(bundle, tmp_path, capsys):
  write_scores(tmp_path / 'scores.csv', 2, {3: 0.0})
  with pytest.raises(UserError, match='no hour of the day has 3 hours'):
    learn_hours(str(bundle), [str(tmp_path / 'scores.csv')], tmp_path / 'door.json')
  assert not (tmp_path / 'door.json').exists()
  assert '03:00: 2.0 hours of scores, 3 are needed: left out' in capsys.readouterr().out


def test_a_pause_is_no_footage(tmp_path):
  times = MIDNIGHT_S + np.asarray([0, 1, 2, 100, 101, 3599, 3600])
  lines = [f'{index},{when:.3f},0.5,' for index, when in enumerate(times)]
  (tmp_path / 'scores.csv').write_text('\n'.join(['frame,time_s,score,event', *lines]))
  found = hours._stretches(tmp_path / 'scores.csv')
  assert [(hour, len(part)) for hour, part in found] == [(0, 3), (0, 2), (0, 1), (1, 1)]


@pytest.mark.parametrize(
  'content, words',
  [
    ('frame,time_s,score,event\n0,0.04,1.0,\n', 'has no times of the day'),
    ('frame,time_s,score,event\n0,x,1.0,\n', 'is not a scores.csv'),
    ('nothing\n', 'has no times of the day'),
  ],
)
def test_files_of_something_else_are_named(bundle, tmp_path, content, words):
  (tmp_path / 'scores.csv').write_text(content)
  with pytest.raises(UserError, match=words):
    learn_hours(str(bundle), [str(tmp_path / 'scores.csv')], tmp_path / 'door.json')


def test_tables_of_another_bundle_and_without_a_live_source_are_refused(bundle, tmp_path):
  path = tmp_path / 'door.json'
  opened = load_bundle(bundle)
  live = find_sources(['door=rtsp://cam/live'])
  for content, words in (
    ({'thresholds': {'3': 1.0}, 'bundle': 'other'}, 'of another bundle'),
    ({'thresholds': {'x': 1.0}}, 'was not written by --learn_hours'),
    ({'thresholds': {'24': 1.0}}, 'hours from 0 to 23'),
    ({'thresholds': {'3': float('nan')}}, 'finite numbers'),
    ({}, 'was not written by --learn_hours'),
  ):
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
      read_hours([str(path)], live, opened)
  with pytest.raises(UserError, match='there are none'):
    read_hours([str(path)], find_sources(['-']), opened)
  with pytest.raises(UserError, match='there are door'):
    read_hours([f'gate={path}'], live, opened)
