"""The list of events, their files, and feedback that survives restarts."""

import json

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.watching.output import event_line
from a3dcae_jax.watching.page import event_list
from a3dcae_jax.watching.page.event_list import EventList, event_key
from a3dcae_jax.watching.page.feedback import (
  FEEDBACK,
  Feedback,
  raised_threshold,
  read_marks,
)
from tests.watching.page.made import START_S, record, source

BUNDLE = 'a' * 64


@pytest.fixture
def events(tmp_path):
  return EventList(tmp_path)


def add_event(events, name, *, score=6.0, at_s=0.0, source='door'):
  for change in ('start', 'end'):
    events.add(record('abnormal', change, name, at_s=at_s, source=source, peak_score=score))
  return events.get(event_key(source, name))


def test_events_are_listed_newest_first_and_filtered(events):
  events.add(record('abnormal', 'start', 'a', at_s=1))
  events.add(record('lost', 'start', 'b', at_s=2, source='yard'))
  events.add(record('abnormal', 'update', 'a', at_s=6, peak_score=9.0))
  assert [event.name for event in events.newest()] == ['b', 'a']
  assert [event.name for event in events.newest(source='door')] == ['a']
  assert [event.name for event in events.newest(kind='fault')] == ['b']
  assert [event.name for event in events.newest(kind='abnormal')] == ['a']
  (event,) = events.newest(kind='abnormal')
  assert (event.score, event.start_s, event.is_open) == (9.0, START_S + 1, True)
  events.add(record('abnormal', 'end', 'a', at_s=8, peak_score=9.0))
  event = events.get(event.key)
  assert (event.start_s, event.end_s, event.is_open) == (START_S + 1, START_S + 8, False)


def test_the_list_is_bounded(events, monkeypatch):
  monkeypatch.setattr(event_list, 'KEPT_EVENTS', 3)
  for index in range(5):
    add_event(events, str(index))
  assert [event.name for event in events.newest()] == ['4', '3', '2']


def test_events_of_earlier_calls_are_read_and_damage_is_left_out(events, tmp_path):
  (tmp_path / 'door').mkdir()
  lines = [
    event_line(record('abnormal', 'start', 'old', at_s=1)),
    '{"half": ',
    '[]',
    '{"time": "yesterday", "id": "x", "kind": "abnormal", "type": "start", "message": ""}',
    event_line(record('abnormal', 'start', 'new', at_s=9)),
  ]
  (tmp_path / 'door' / 'events.jsonl').write_text('\n'.join(lines))
  events.load([source('door'), source('yard')])
  assert [event.name for event in events.newest()] == ['new', 'old']
  assert not any(event.is_open for event in events.newest())  # nothing goes on after a kill
  events.forget('door')
  assert events.newest() == []


def test_two_sources_may_have_events_of_one_name(events):
  first = add_event(events, 'a-b-1', source='a/b')
  second = add_event(events, 'a-b-1', source='a-b')
  assert first.key != second.key
  assert len(events.newest()) == 2


def test_only_files_in_the_folder_of_the_source_are_given(events, tmp_path):
  folder = tmp_path / 'door' / 'events'
  folder.mkdir(parents=True)
  (tmp_path / 'secret.jpg').write_text('secret')
  (folder / 'good.jpg').write_text('still')
  (folder / '.half.jpg').write_text('half')
  (folder / 'link.jpg').symlink_to(tmp_path / 'secret.jpg')
  assert events.file(add_event(events, 'good'), '.jpg') == folder / 'good.jpg'
  assert events.file(add_event(events, 'good'), '.mp4') is None
  for name in ('../../secret', f'{tmp_path}/secret', 'link', '.half', 'absent'):
    assert events.file(add_event(events, name), '.jpg') is None, name


def test_feedback_survives_a_restart_and_can_be_taken_back(events, tmp_path):
  event = add_event(events, 'a')
  feedback = Feedback(tmp_path, BUNDLE)
  assert not feedback.is_normal(event.key)
  feedback.mark(event, True)
  feedback.mark(event, True)  # a second click
  line = json.loads((tmp_path / FEEDBACK).read_text())
  assert {name: line[name] for name in ('source', 'id', 'normal', 'score', 'bundle')} == {
    'source': 'door',
    'id': 'a',
    'normal': True,
    'score': 6.0,
    'bundle': BUNDLE,
  }
  assert line['start'].startswith('2026-') and line['first_frame'] == 40
  assert Feedback(tmp_path, BUNDLE).is_normal(event.key)
  feedback.mark(event, False)
  assert not Feedback(tmp_path, BUNDLE).is_normal(event.key)
  assert len((tmp_path / FEEDBACK).read_text().splitlines()) == 2


def test_damaged_lines_are_named_once_and_the_others_count(events, tmp_path, capsys):
  feedback = Feedback(tmp_path, BUNDLE)
  keys = []
  for name in 'ab':
    keys.append(add_event(events, name).key)
    feedback.mark(events.get(keys[-1]), True)
  path = tmp_path / FEEDBACK
  first, second = path.read_bytes().splitlines()
  path.write_bytes(b'\n'.join([first, b'{"half": ', b'\xff\x00', b'', second, b'[]', b'']))
  assert list(read_marks(tmp_path)) == keys
  assert capsys.readouterr().err == (
    f'{path}: lines 2, 3, 6 are damaged, and left out: mend or remove what is damaged\n'
  )
  Feedback(tmp_path, BUNDLE, {})
  assert capsys.readouterr().err == ''


def test_feedback_that_cannot_be_read_is_one_line(tmp_path):
  (tmp_path / FEEDBACK).mkdir()
  with pytest.raises(UserError, match='feedback.jsonl cannot be read: Is a directory'):
    read_marks(tmp_path)


def test_a_line_that_a_kill_cut_off_harms_no_other(events, tmp_path):
  (tmp_path / FEEDBACK).write_text('{"source": "door", "id": "x", "nor')
  event = add_event(events, 'a')
  Feedback(tmp_path, BUNDLE).mark(event, True)
  assert list(read_marks(tmp_path)) == [event.key]


def test_feedback_that_cannot_be_written_is_not_kept(events, tmp_path):
  (tmp_path / FEEDBACK).mkdir()
  event = add_event(events, 'a')
  (tmp_path / FEEDBACK).rmdir()
  feedback = Feedback(tmp_path, BUNDLE)
  (tmp_path / FEEDBACK).mkdir()
  with pytest.raises(OSError):
    feedback.mark(event, True)
  assert not feedback.is_normal(event.key)


def test_the_threshold_is_raised_above_normal_events_of_the_source_and_bundle(events, tmp_path):
  feedback = Feedback(tmp_path, BUNDLE)
  feedback.mark(add_event(events, 'a', score=7.0), True)
  feedback.mark(add_event(events, 'b', score=8.0), True)
  feedback.mark(add_event(events, 'c', score=9.0), True)
  feedback.mark(add_event(events, 'c', score=9.0), False)
  feedback.mark(add_event(events, 'd', score=20.0, source='yard'), True)
  Feedback(tmp_path, 'b' * 64).mark(add_event(events, 'e', score=30.0), True)
  marks = read_marks(tmp_path)
  threshold, count = raised_threshold(marks, 'door', 5.0, BUNDLE)
  assert threshold == pytest.approx(8.01)
  assert count == 2
  assert raised_threshold(marks, 'door', 8.5, BUNDLE) == (8.5, 0)
  assert raised_threshold(marks, 'gate', 5.0, BUNDLE) == (5.0, 0)
