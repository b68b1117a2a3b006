"""From results of runs to tables, claims and pages."""

import csv
import dataclasses

import numpy as np
import pytest

from a3dcae_jax.paper import plan
from a3dcae_jax.paper.claims import CONTRADICTED, SURE, UNSURE, count_differences, verdicts
from a3dcae_jax.paper.collect import SHOWN, RowResult, Spread, collect, read_result
from a3dcae_jax.paper.figures import gaps_sheet
from a3dcae_jax.paper.left_out import left_out_sheet
from a3dcae_jax.paper.page import page_text, terminal_text, write_sheets
from a3dcae_jax.paper.sheets import data_sheet, events_sheet, results_sheet, speed_sheet
from a3dcae_jax.paper.speed import Speed
from a3dcae_jax.paper.tables import TABLES
from a3dcae_jax.scoring.bootstrap import paired_difference, paired_gap_difference
from a3dcae_jax.scoring.metrics import auc
from tests.paper.made_runs import base, labels, write_run

STRENGTHS = {
  'base': 0.5,
  'without_gan': 0.5,
  'without_3d_conv': 0.05,
  'without_3d_pool': 2.0,
  'without_recorded_locations': 0.5,
}


@pytest.fixture(scope='module')
def jobs(tmp_path_factory):
  """Runs of Table V with two seeds, one of which is missing."""
  out = tmp_path_factory.mktemp('out')
  made = {}
  for seed in (0, 1):
    ours = plan.make_jobs(base(), ['fig3'], [seed], out)['base', seed]
    for noise, (recipe, strength) in enumerate(STRENGTHS.items()):
      name = f'{recipe}_s{seed}'
      job = dataclasses.replace(ours, name=name, workdir=out / 'runs' / name, recipe=recipe)
      made[recipe, seed] = job
      if name != 'without_gan_s1':
        write_run(job, strength=strength, noise=noise)
  return made


@pytest.fixture
def rows(jobs):
  return collect('V', jobs, [0, 1], 'ucsd_ped2')


def of_table_x(jobs):
  """Return the runs as those of Table X."""
  others = ('conv_ae', 'convlstm_ae', 'plain_3d')
  made = {(recipe, 0): jobs['without_gan', 0] for recipe in others}
  return made | {('base', 0): jobs['base', 0]}


def row_of(rows, label):
  (row,) = (row for row in rows if row.label == label)
  return row


def test_scores_are_those_of_the_figures(jobs):
  result = read_result(jobs['base', 0])
  for how in SHOWN:
    value = auc(np.concatenate(result.scores(how)), np.concatenate(labels()))
    assert value == pytest.approx(result.metrics['metrics'][how]['auc'], abs=1e-6)


def test_rows_have_the_figures_of_the_paper_and_of_the_runs(rows):
  ours = row_of(rows, 'Ours')
  assert ours.paper == (91.0, 10.9)
  assert [result.seed for result in ours.results] == [0, 1]
  assert ours.results[0].budget == '4 x 4'
  assert ours.results[0].minutes == 1.5
  assert row_of(rows, 'w/o GAN').missing == (1,)


def test_rows_that_are_not_run_here_are_shown_as_printed(jobs):
  rows = collect('X', of_table_x(jobs), [0], 'ucsd_ped2')
  assert row_of(rows, 'Medel and Savakis').paper == (12, 1)
  assert not row_of(rows, 'Medel and Savakis').missing
  assert 'Lu et al.' not in [row.label for row in rows]


def test_orderings_are_sure_contradicted_or_unsure(rows):
  found = {verdict.claim.worse: verdict for verdict in verdicts(TABLES['V'].claims, rows)}
  assert found['w/o 3D convolution'].certainty('raw') == SURE
  assert found['w/o 3D pooling'].certainty('raw') == CONTRADICTED
  assert found['w/o recording locations'].certainty('raw') == UNSURE
  assert found['w/o 3D convolution'].paper == pytest.approx((91.0 - 89.7, 10.9 - 17.0))
  assert found['w/o GAN'].seeds == 1
  difference = found['w/o 3D convolution'].differences['raw']
  one = np.mean(row_of(rows, 'Ours').values('raw', 'auc'))
  other = np.mean(row_of(rows, 'w/o 3D convolution').values('raw', 'auc'))
  assert difference.value == pytest.approx(100 * (one - other), abs=1e-4)
  assert difference.low < difference.value < difference.high


def test_a_row_compared_with_itself_or_with_nothing_has_no_verdict(rows):
  ours = row_of(rows, 'Ours')
  empty = RowResult('w/o GAN', None)
  same = RowResult('w/o GAN', None, ours.results)
  claims = [claim for claim in TABLES['V'].claims if claim.worse == 'w/o GAN']
  for other, note in ((empty, 'no results'), (same, 'same run')):
    (verdict,) = verdicts(claims, [ours, other])
    assert note in verdict.note
    assert verdict.certainty('eq14') == '-'


def test_the_paired_bootstrap_equals_resampled_aucs(rng):
  truth = labels()
  first = [[rng.normal(size=60) + video for video in truth] for _ in range(2)]
  second = [[rng.normal(size=60).round(1) for video in truth] for _ in range(2)]
  found = paired_difference(first, second, truth, resamples=200)
  values = []
  draws = np.random.default_rng(0)
  for _ in range(200):
    chosen = draws.integers(6, size=6)
    seeds = draws.integers(2, size=2)
    joined = np.concatenate([truth[index] for index in chosen])
    of_seeds = []
    for seed in seeds:
      one, two = (np.concatenate([each[seed][i] for i in chosen]) for each in (first, second))
      of_seeds.append(auc(one, joined) - auc(two, joined))
    values.append(np.mean(of_seeds))
  low, high = np.quantile(values, [0.025, 0.975])
  assert found.low == pytest.approx(low)
  assert found.high == pytest.approx(high)


def test_the_bootstrap_of_gaps_equals_resampled_gaps(rng):
  truth = labels()
  first, second = ([[rng.normal(size=60) + 1 for _ in truth]] for _ in range(2))
  found = paired_gap_difference(first, second, truth, resamples=50)
  values = []
  draws = np.random.default_rng(0)
  for _ in range(50):
    chosen = draws.integers(6, size=6)
    draws.integers(1, size=1)
    joined = np.concatenate([truth[index] for index in chosen])
    one, two = (np.concatenate([each[0][i] for i in chosen]) for each in (first, second))
    gaps = [scores[joined == 1].mean() - scores[joined == 0].mean() for scores in (one, two)]
    values.append(gaps[0] - gaps[1])
  assert (found.low, found.high) == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_few_videos_and_one_class_give_no_interval(rng):
  truth = labels()[:4]
  scores = [[rng.normal(size=60) for _ in truth]]
  found = paired_difference(scores, scores, truth)
  assert (found.value, found.low, found.high) == (0, None, None)
  normal = [np.zeros(60, np.uint8)] * 6
  assert paired_difference([[np.ones(60)] * 6], [[np.ones(60)] * 6], normal) is None


def test_a_spread_of_an_undefined_figure_is_none():
  assert Spread.of([0.5, None]) is None
  assert Spread.of([]) is None
  assert Spread.of([0.5, 0.7]) == Spread(pytest.approx(0.6), 0.5, 0.7, 2)


def test_tables_are_written_as_markdown_csv_and_a_page(rows, tmp_path):
  figures = rows[-1].results[0].metrics['baselines']
  sheet = results_sheet('V', rows, figures)
  write_sheets(tmp_path, 'tables', [sheet], ['Command: x'])
  text = (tmp_path / 'table_V.md').read_text()
  assert '| w/o GAN | 90.3 / 17.8 |' in text
  assert 'no results yet: w/o GAN, seed 1' in text
  assert '| baseline: frame difference | - | 60.0 / 40.0 |' in text
  assert 'There are 6 test videos and 2 seeds' in text
  with open(tmp_path / 'table_V.csv', encoding='utf-8') as file:
    records = list(csv.DictReader(file))
  own = [record for record in records if record['row'] == 'Ours' and record['source'] == 'run']
  assert {(record['seed'], record['normalisation']) for record in own} == {
    (seed, how) for seed in '01' for how in SHOWN
  }
  page = (tmp_path / 'report.html').read_text()
  assert 'Table V. Components of the method' in page and CONTRADICTED in page
  assert 'w/o 3D convolution' in terminal_text(sheet)


def test_events_stand_beside_those_of_the_paper(jobs):
  sheet = events_sheet('X', collect('X', of_table_x(jobs), [0], 'ucsd_ped2'))
  lines = {line[0]: line for line in sheet.cells}
  assert sheet.cells[0][1] == 'paper'  # the runs are of the synthetic set
  assert lines['Hasan et al.'][1] == '12/1'
  counts = jobs['base', 0]
  events = read_result(counts).metrics['events']
  assert lines['Ours'][2] == f'{events["true_positives"]}/{events["false_alarms"]}'
  assert 'threshold' in ' '.join(sheet.notes)
  assert page_text('t', [sheet], [])
  # On Ped2 the paper's counts of both are equal, and Chong and Tay have none.
  assert [(line[3], line[5]) for line in sheet.claims[1:]] == [
    ('+0', 'equal in the paper'),
    ('+0', 'equal in the paper'),
    ('-', '-'),
    ('-', '-'),
  ]


def test_counts_by_video_add_up_to_those_of_the_run(jobs):
  result = read_result(jobs['without_3d_pool', 0])
  videos = result.event_counts()
  events = result.metrics['events']
  assert len(videos) == result.metrics['data']['videos']
  assert sum(video.found for video in videos) == events['true_positives'] > 0
  assert sum(video.false_alarms for video in videos) == events['false_alarms']


def test_the_ordering_of_counts_is_that_of_the_paper_on_the_set(jobs):
  strong, weak = (read_result(jobs[name, 0]) for name in ('without_3d_pool', 'without_3d_conv'))
  rows = [
    RowResult('Ours', (45, 11), (strong,)),
    RowResult('Hasan et al.', (44, 4), (weak,)),
    RowResult('Chong and Tay', (46, None), (weak,)),
  ]
  hasan, chong = verdicts(TABLES['X'].claims, rows, count_differences)
  assert hasan.differences['true_positives'].low > 0
  assert hasan.count_certainty('true_positives') == SURE
  assert chong.count_certainty('true_positives') == CONTRADICTED
  assert chong.count_certainty('false_alarms') == '-'


def test_the_score_gap_has_an_interval_and_a_verdict(jobs):
  made = {('base', 0): jobs['without_3d_pool', 0], ('without_gan', 0): jobs['without_3d_conv', 0]}
  sheet = gaps_sheet('fig4', collect('fig4', made, [0], 'avenue'))
  (line,) = sheet.claims[1:]
  assert line[:2] == ['with GAN', 'without GAN'] and line[3] == SURE
  gaps = [record['score_gap'] for record in sheet.records]
  assert float(line[2].split()[0]) == pytest.approx(gaps[1] - gaps[0], abs=1e-4)


def test_speeds_stand_beside_those_of_the_paper(jobs):
  made = {(recipe, 0): jobs['base', 0] for recipe in TABLES['VII'].rows.values()}
  rows = collect('VII', made, [0], 'avenue')
  speeds = {'Conv-AE': Speed(123.4, None, 2_000_000, 16, 10)}
  sheet = speed_sheet('VII', rows, speeds, 'a device')
  lines = {line[0]: line for line in sheet.cells}
  assert lines['Conv-AE'][1:6] == ['946.1', '123.4', '-', '2', '16']
  assert lines['Ours (10 layers)'][2] == '-'
  assert lines['Ours (6 layers)'][7] == '84.8'
  assert 'PyTorch' not in ' '.join(sheet.cells[0])
  speeds = {'Conv-AE': speeds['Conv-AE']._replace(peer_frames_per_s=100.0, ratios=(1.5, 1.2, 1.0))}
  sheet = speed_sheet('VII', rows, speeds, 'a device', ['how'])
  lines = {line[0]: line for line in sheet.cells}
  assert lines['Conv-AE'][2:5] == ['123.4', '100', '1.20 (1.00 to 1.50)']
  assert lines['Ours (10 layers)'][2:8] == ['-'] * 6
  assert sheet.records[0]['ratios'] == '1.500 1.200 1.000' and 'how' in sheet.notes


def test_long_data_are_drawn_and_short_ones_are_a_table():
  long = data_sheet('a', 'A', ('x', 'y'), [(index, None) for index in range(50)], ['holds'])
  assert not long.cells and len(long.records) == 50
  assert 'holds.' in page_text('t', [long], [])
  short = data_sheet('b', 'B', ('x', 'y'), [(1, 0.25), (2, None)], [])
  assert short.cells == [['x', 'y'], ['1', '0.25'], ['2', '-']]


def test_what_is_left_out_is_named_with_its_command():
  sheet = left_out_sheet(base().settings)
  commands = {line[0]: line[3] for line in sheet.cells[1:]}
  assert '--config=configs/shanghaitech.py' in commands['shanghaitech']
  assert {'subway_entrance', 'subway_exit', 'synthetic at 224x224, as printed'} <= set(commands)
