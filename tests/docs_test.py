"""The documentation agrees with the code: links, commands, settings, modules."""

import ast
import configparser
import dataclasses
import pathlib
import re
from collections.abc import Iterator

import numpy as np
import pytest

from a3dcae_jax.__main__ import COMMANDS
from a3dcae_jax.config import VARIANTS
from a3dcae_jax.config.fields import Config
from a3dcae_jax.scoring.tables import COLUMNS
from tools import make_config_reference, make_error_reference, make_pictures

REPO = pathlib.Path(__file__).parents[1]
PACKAGE = REPO / 'a3dcae_jax'
DOCS = REPO / 'docs'
PAGES = [REPO / 'README.md', REPO / 'CHANGELOG.md', REPO / 'CONTRIBUTING.md']
PAGES += sorted(DOCS.rglob('*.md'))
CURRENT_PAGES = [page for page in PAGES if 'journal' not in page.parts]
TERMS = (
  'baseline',
  'bundle',
  'calibration',
  'clip',
  'development clips',
  'EER',
  'event',
  'frame cache',
  'input pipeline',
  'label set',
  'layout',
  'local reconstruction error',
  'masked frames',
  'mean image',
  'per-position calibration',
  'persistence',
  'perspective normalisation',
  'polyphase',
  'pool index',
  'protocol',
  'pseudo-anomaly validation set',
  'reference statistics',
  'scene',
  'stride',
  'variant',
  'window step',
)


def _name(page: pathlib.Path) -> str:
  return str(page.relative_to(REPO))


def _text(page: pathlib.Path) -> str:
  return page.read_text(encoding='utf-8')


def _without_code(text: str) -> str:
  """Return Markdown without code, which has no links and no headings."""
  text = re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE)
  return re.sub(r'`[^`\n]*`', 'code', text)


def _anchors(page: pathlib.Path) -> set[str]:
  """Return the anchors of the headings of a page, as the site makes them."""
  text = re.sub(r'^```.*?^```', '', _text(page), flags=re.DOTALL | re.MULTILINE)
  anchors = set()
  for heading in re.findall(r'^#+ (.*)$', text, flags=re.MULTILINE):
    words = re.sub(r'[^\w\s-]', '', heading.lower()).strip()
    anchors.add(re.sub(r'[-\s]+', '-', words))
  return anchors


def _links(page: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
  """Yield the files and anchors that a page links to."""
  for target in re.findall(r'\]\(([^)\s]+)\)', _without_code(_text(page))):
    if not re.match(r'[a-z]+:', target):
      path, _, anchor = target.partition('#')
      yield (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize('page', PAGES, ids=_name)
def test_links_lead_to_files_and_headings(page):
  for path, anchor in _links(page):
    assert path.exists(), path
    if anchor:
      assert anchor in _anchors(path), f'{path.name}#{anchor}'


def test_links_of_the_site_stay_in_the_site():
  for page in DOCS.rglob('*.md'):
    for path, _ in _links(page):
      assert path.is_relative_to(DOCS), f'{page.name} links to {path}'


def test_every_page_is_in_the_navigation():
  listed = set(re.findall(r'[\w/-]+\.md', _text(REPO / 'mkdocs.yml')))
  assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob('*.md')}


def test_readme_is_short():
  lines = _text(REPO / 'README.md').splitlines()
  assert len(lines) <= 120
  assert max(map(len, lines)) <= 100


def test_pictures_are_small():
  for picture in (DOCS / 'images').iterdir():
    assert picture.stat().st_size < 1_000_000, picture.name


def test_pictures_outline_the_true_region():
  frames = np.zeros((20, 8, 8), np.float32)
  masks = np.zeros((20, 8, 8), np.uint8)
  masks[5:9, 2:4, 3:6] = 1
  labels = masks.any((1, 2)).astype(np.uint8)
  video = make_pictures.VideoPictures(
    name='01',
    frames=frames,
    reconstructions=frames,
    errors=np.ones_like(frames),
    scores=np.linspace(0, 1, 20),
    labels=labels,
    masks=masks,
  )
  background = make_pictures.draw_background(video, scale=1.0)
  inside, outside = (make_pictures.draw_frame(background, video, frame) for frame in (6, 10))
  assert inside.size == (make_pictures.WIDTH, make_pictures.HEIGHT)
  panel = make_pictures.PANEL / 8
  edge = (
    round(make_pictures.MARGIN + 2 * panel),
    round(make_pictures.PANEL_TOP + 3 * panel),
  )
  assert inside.getpixel(edge) != outside.getpixel(edge)


def test_config_reference_is_up_to_date():
  """`python -m tools.make_config_reference` writes it."""
  assert _text(make_config_reference.PAGE) == make_config_reference.config_reference()


def test_error_reference_is_up_to_date():
  """`python -m tools.make_error_reference` writes it."""
  assert _text(make_error_reference.PAGE) == make_error_reference.error_reference()


def test_errors_are_in_one_voice():
  """Each is one line without a full stop, which says what is wrong and does not beg or shout."""
  for path in PACKAGE.rglob('*.py'):
    for message in make_error_reference.messages(path.read_text()):
      assert not message.endswith(('.', '!', ' ')) or message.endswith('...'), message
      assert '\n' not in message, message
      assert not re.match(r'(?i)error|please|sorry|invalid|cannot|failed|unable', message), message


def test_method_explains_every_variant():
  section = _text(DOCS / 'method.md').partition('## Variants')[2]
  explained = re.findall(r'^\| `(\w+)` \|', section, flags=re.MULTILINE)
  assert set(VARIANTS) <= set(explained)


def test_glossary_has_the_terms():
  glossary = _text(DOCS / 'method.md').partition('## Glossary')[2]
  explained = set()
  for row in re.findall(r'^\| \*\*(.+?)\*\* \|', glossary, flags=re.MULTILINE):
    explained |= {term.strip() for term in row.split(',')}
  assert set(TERMS) <= explained


def test_outputs_name_the_columns_of_scores():
  outputs = _text(DOCS / 'reference' / 'outputs.md')
  section = outputs.partition('## `scores.csv`')[2].partition('\n## ')[0]
  assert tuple(re.findall(r'^\| `(\w+)` \|', section, flags=re.MULTILINE)) == COLUMNS


def _modules() -> set[str]:
  """Return dotted names of all modules; `<set>` stands for the data sets."""
  names = set()
  for path in PACKAGE.rglob('*.py'):
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    if parts[-1] == '__init__':
      continue
    if parts[0] == 'configs':
      parts = ('configs', '<set>')
    if parts[:2] == ('data', 'builders') and len(parts) == 4:
      name = '.'.join(parts[:2])
      parts = (name, '<set>', parts[3].replace(parts[2], '<set>'))
    names.add('.'.join(parts))
  return names


def _first_lines(path: pathlib.Path) -> Iterator[str]:
  """Yield the first line of each docstring in a file."""
  documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
  for node in ast.walk(ast.parse(_text(path))):
    docstring = ast.get_docstring(node) if isinstance(node, documented) else None
    if docstring:
      yield docstring.partition('\n')[0]


def test_docstrings_open_with_one_short_sentence():
  for folder in (PACKAGE, REPO / 'tools'):
    for path in sorted(folder.rglob('*.py')):
      for line in _first_lines(path):
        assert len(line) <= 80 and line.endswith('.'), f'{_name(path)}: {line}'


def test_architecture_names_every_module_and_no_other():
  text = _text(DOCS / 'architecture.md').partition('## Modules')[2].partition('\n## ')[0]
  named = re.findall(r'^\| `([\w.<>]+)` \|', text, flags=re.MULTILINE)
  assert len(named) == len(set(named))
  assert set(named) == _modules()


def test_architecture_has_the_layers_of_the_import_contract():
  contracts = configparser.ConfigParser()
  contracts.read(REPO / 'setup.cfg')
  layers = next(
    section['layers'] for section in contracts.values() if section.get('type') == 'layers'
  )
  expected = [line.strip() for line in layers.splitlines() if line.strip()]
  block = re.search(r'```text\n(.*?)```', _text(DOCS / 'architecture.md'), flags=re.DOTALL)
  assert block.group(1).splitlines() == expected


def _flags_in(code: str) -> set[str]:
  return set(re.findall(r"flags\.DEFINE_\w+\(\s*'(\w+)'", code))


def _flags_defined(module: pathlib.Path) -> set[str]:
  """Return the flags that a command defines itself or by functions of `cli.command`."""
  code = _text(module)
  defined = _flags_in(code)
  for function in ('define_program_flags', 'define_peer_flags'):
    if f'= {function}()' in code:
      shared = _text(PACKAGE / 'cli' / 'command.py').partition(f'def {function}(')[2]
      defined |= _flags_in(shared.partition('\ndef ')[0])
  return defined


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_page_has_every_flag_and_no_other(command):
  page = _text(DOCS / 'reference' / 'commands.md')
  section = page.partition(f'## `{command}`')[2].partition('\n## ')[0]
  documented = set(re.findall(r'^\| `--(\w+)', section, flags=re.MULTILINE))
  defined = _flags_defined(PACKAGE / f'{command}.py')
  assert documented - {'config'} == defined


def test_commands_page_has_the_flags_of_pods():
  page = _text(DOCS / 'reference' / 'commands.md')
  section = page.partition('## Flags of pods')[2]
  documented = set(re.findall(r'^\| `--(\w+)', section, flags=re.MULTILINE))
  assert documented == _flags_defined(PACKAGE / 'cli' / 'pod.py')


def _fields() -> set[str]:
  """Return dotted names of all settings and of the subtrees."""
  names = set()
  for field in dataclasses.fields(Config):
    names.add(field.name)
    if dataclasses.is_dataclass(field.default_factory):
      subfields = dataclasses.fields(field.default_factory)
      names |= {f'{field.name}.{subfield.name}' for subfield in subfields}
  return names


@pytest.mark.parametrize('page', CURRENT_PAGES, ids=_name)
def test_commands_in_pages_would_run(page):
  text = _text(page)
  for module in re.findall(r'python -m ((?:a3dcae_jax|tools)[\w.]*)', text):
    path = REPO / module.replace('.', '/')
    is_placeholder = path.name.isupper()
    assert is_placeholder or path.with_suffix('.py').exists() or path.is_dir(), module
  for name, variants in re.findall(r'configs/(\w+)\.py(?::([\w,]+))?', text):
    assert name.isupper() or (REPO / 'configs' / f'{name}.py').exists(), name
    for variant in filter(None, variants.split(',')):
      assert variant.isupper() or variant in VARIANTS, variant
  for field in re.findall(r'--(?:config\.|override=)([a-z][\w.]*)', text):
    known = field.startswith('data.options.') or field in _fields()
    assert known, field
  for script in re.findall(r'\b(?:tools|launch)/[\w/]+\.(?:py|sh|sbatch|yaml)', text):
    assert (REPO / script).exists(), script
