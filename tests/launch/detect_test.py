"""The unit and the image that keep a detector running call it as it is."""

import configparser
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def flags_of_detect():
  code = (ROOT / 'a3dcae_jax' / 'detect.py').read_text()
  return set(re.findall(r"flags\.DEFINE_\w+\(\s*'(\w+)'", code))


def test_the_unit_has_flags_of_detect_and_ends_it_by_its_signal():
  unit = configparser.ConfigParser(interpolation=None, strict=True)
  unit.optionxform = str
  lines = (ROOT / 'launch' / 'detect.service').read_text().splitlines()
  # systemd takes a key several times, configparser only once.
  unit.read_string('\n'.join(line for line in lines if not line.startswith('Environment=')))
  service = unit['Service']
  words = shlex.split(service['ExecStart'])
  assert words[1:3] == ['-m', 'a3dcae_jax.detect']
  given = {word[2:].partition('=')[0] for word in words if word.startswith('--')}
  assert given == {'bundle', 'out'} <= flags_of_detect()
  assert service['KillSignal'] == 'SIGTERM'
  assert service['RestartPreventExitStatus'] == '2'


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='no systemd')
def test_systemd_knows_every_line_of_the_unit(tmp_path):
  text = (ROOT / 'launch' / 'detect.service').read_text()
  python = '/opt/a3dcae_jax/bin/python'  # of the installation, not here
  assert python in text
  unit = tmp_path / 'detect.service'
  for content, is_right in ((text, True), (text.replace('Restart=', 'Restarts='), False)):
    unit.write_text(content.replace(python, sys.executable))
    done = subprocess.run(
      ['systemd-analyze', 'verify', unit], capture_output=True, text=True, check=False
    )
    found = [line for line in done.stderr.splitlines() if 'detect.service' in line]
    assert (done.returncode == 0 and not found) == is_right, done.stderr


def test_the_image_copies_what_is_there_and_has_flags_of_detect():
  text = (ROOT / 'launch' / 'Dockerfile').read_text()
  for line in re.findall(r'^COPY (.*)$', text, flags=re.MULTILINE):
    *sources, _ = line.split()
    assert all((ROOT / source).exists() for source in sources), line
  given = set(re.findall(r'"--(\w+)=', text))
  assert given == {'bundle', 'out'} <= flags_of_detect()
  extras = re.search(r"'\.\[([\w,]+)\]'", text).group(1).split(',')
  setup = configparser.ConfigParser(interpolation=None)
  setup.read(ROOT / 'setup.cfg')
  assert set(extras) <= set(setup['options.extras_require'])
