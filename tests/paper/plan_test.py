"""Rows and seeds become runs; runs that are done are found; folders of others are refused."""

import dataclasses

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import write_json
from a3dcae_jax.config.variants import VARIANTS
from a3dcae_jax.paper import plan, tables
from a3dcae_jax.run import workdir as workdirs
from tests.paper.made_runs import base, write_run


@pytest.fixture
def jobs(tmp_path):
  return plan.make_jobs(base(), ['fig4', 'IX'], [0, 1], tmp_path)


def test_every_row_and_seed_is_a_run(jobs):
  names = {job.name for job in plan.distinct(jobs)}
  expected = {'base', 'without_gan', 'flow', 'frames_and_flow'}
  assert names == {f'{name}_s{seed}' for name in expected for seed in (0, 1)}
  job = jobs['without_gan', 1]
  assert job.settings.loss.adversarial_weight == 0
  assert job.settings.seed == 1
  assert job.settings.variant == 'tiny,without_gan'
  assert f'--workdir={job.workdir}' in job.arguments


def test_the_variants_of_all_rows_exist():
  named = {variant for recipe in tables.RECIPES.values() for variant in recipe.variants}
  assert named <= set(VARIANTS)
  assert {'conv_ae', 'noise_poisson'} <= named


def test_tables_share_runs_of_equal_settings(tmp_path):
  jobs = plan.make_jobs(base(), ['fig3', 'fig4', 'fig6'], [0], tmp_path)
  assert [job.name for job in plan.distinct(jobs)] == ['base_s0', 'without_gan_s0']
  without = base('tiny,without_gan')
  shared = plan.make_jobs(without, ['fig4'], [0], tmp_path)
  assert shared['without_gan', 0] is shared['base', 0]


def test_a_field_of_the_user_is_set_in_every_row_but_those_that_it_would_undo(tmp_path):
  own = base(**{'train.steps': 7, 'loss.adversarial_weight': 0.5, 'data.cache_dir': 'c'})
  jobs = plan.make_jobs(own, ['fig4', 'IX', 'VIII'], [0], tmp_path)
  assert {job.settings.train.steps for job in plan.distinct(jobs) if job.settings} == {7}
  assert {job.settings.data.cache_dir for job in plan.distinct(jobs) if job.settings} == {'c'}
  assert jobs['base', 0].settings.loss.adversarial_weight == 0.5
  assert jobs['flow', 0].settings.loss.adversarial_weight == 0.5
  assert jobs['without_gan', 0].settings.loss.adversarial_weight == 0
  assert jobs['flow', 0].settings.input.kind == 'flow'
  assert '--config.train.steps=7' in jobs['flow', 0].arguments


def test_flow_beside_small_is_the_recipe_for_flow(tmp_path):
  jobs = plan.make_jobs(base('small'), ['IX'], [0], tmp_path)
  settings = jobs['flow', 0].settings
  assert settings.input.perspective == 'auto'
  assert settings.train.steps == 600


def test_fewer_updates_than_a_run_already_has_are_refused(tmp_path):
  job = plan.make_jobs(base(), ['fig3'], [0], tmp_path)['base', 0]
  workdirs.init_or_check_workdir(job.workdir, job.settings)
  (job.workdir / 'checkpoints' / '4').mkdir(parents=True)
  plan.check_workdirs([job])
  longer = plan.make_jobs(base(**{'train.steps': 9}), ['fig3'], [0], tmp_path)['base', 0]
  plan.check_workdirs([longer])
  shorter = plan.make_jobs(base(**{'train.steps': 2}), ['fig3'], [0], tmp_path)['base', 0]
  with pytest.raises(UserError, match='train.steps .=2.: .* already has 4 updates'):
    plan.check_workdirs([shorter])


@pytest.mark.parametrize(
  ('variants', 'table', 'message'),
  [
    ('tiny,conv_ae', 'I', "model.kind .='conv_ae'. must be 'a3dcae'"),
    ('tiny,without_3d_conv', 'V', "model.kind .='a2dcae'. must be 'a3dcae'"),
    ('tiny,plain_3d', 'complexity', "model.kind .='plain_3d'. must be 'a3dcae'"),
    ('objects,tiny', 'VIII', '--table=VIII compares frames with objects or flow'),
    ('objects,tiny', 'fig6', '--table=fig6 runs networks on whole frames'),
    ('flow', 'IX', "--table=IX compares frames with objects or flow.*input.kind='flow'"),
  ],
)
def test_a_config_that_is_another_row_is_refused(tmp_path, variants, table, message):
  with pytest.raises(UserError, match=message):
    plan.make_jobs(base(variants), [table], [0], tmp_path)


def test_a_config_on_objects_has_the_tables_without_other_inputs(tmp_path):
  jobs = plan.make_jobs(base('objects,tiny'), ['V'], [0], tmp_path)
  assert jobs['without_3d_pool', 0].settings.objects.detector == 'foreground'


def test_a_sum_needs_its_parts_and_changes_with_them(tmp_path):
  jobs = plan.make_jobs(base(), ['IX'], [3], tmp_path)
  added = jobs['frames_and_flow', 3]
  assert added.needs == ('base_s3', 'flow_s3')
  assert list(jobs.values()).index(added) == 2
  other = plan.make_jobs(base(**{'train.steps': 9}), ['IX'], [3], tmp_path)
  assert other['frames_and_flow', 3].digest != added.digest


def test_jobs_that_need_each_other_stay_on_one_host(jobs):
  distinct = plan.distinct(jobs)
  parts = [plan.split(distinct, (number, 3)) for number in range(3)]
  names = [job.name for part in parts for job in part]
  assert sorted(names) == sorted(job.name for job in distinct)
  for part in parts:
    here = {job.name for job in part}
    assert all(set(job.needs) <= here for job in part)


def test_a_run_is_done_when_its_results_are_of_its_settings(jobs, tmp_path):
  job = jobs['without_gan', 0]
  assert not plan.is_done(job)
  write_run(job, strength=1)
  assert plan.is_done(job)
  longer = plan.make_jobs(base(**{'train.steps': 9}), ['fig4'], [0], tmp_path)
  assert not plan.is_done(longer['without_gan', 0])
  other_eval = plan.make_jobs(base(**{'eval.stride': 2}), ['fig4'], [0], tmp_path)
  assert not plan.is_done(other_eval['without_gan', 0])
  plan.state_file(job).unlink()  # made by hand: its config.json decides
  assert plan.is_done(job)
  assert not plan.is_done(other_eval['without_gan', 0])


def test_damaged_results_are_not_done(jobs):
  job = jobs['base', 0]
  write_run(job, strength=1)
  (job.workdir / 'metrics.json').write_text('{')
  assert not plan.is_done(job)


def test_a_folder_of_another_plan_is_refused(tmp_path):
  out = tmp_path / 'out'
  plan.claim_out(out, base())
  plan.check_out(out, base(seed=4))  # seeds may grow
  plan.check_out(out, base(**{'data.root': 'elsewhere'}))
  with pytest.raises(UserError, match='holds runs of another config: .*loss.noise_std is 0.005'):
    plan.check_out(out, base(**{'loss.noise_std': 0.1}))
  (tmp_path / 'file').write_text('x')
  with pytest.raises(UserError, match='has files but no plan.json'):
    plan.check_out(tmp_path, base())
  (out / 'plan.json').write_text('{"base": {"seed": 0, "colour": 1}}')
  with pytest.raises(UserError, match='not a plan of this version'):
    plan.check_out(out, base())


def test_a_workdir_of_another_config_is_refused_as_main_does(jobs):
  job = jobs['base', 0]
  (job.workdir / 'checkpoints' / '1').mkdir(parents=True)
  other = dataclasses.replace(job.settings, seed=5)
  write_json(job.workdir / 'config.json', workdirs.to_json(other))
  with pytest.raises(UserError, match='belongs to another config: seed is 5 there, 0 here'):
    plan.check_workdirs([job])


@pytest.mark.parametrize('text', ['', 'x', '-1', '1.5', '0,²', '4294967296'])
def test_seeds_are_whole_numbers(text):
  with pytest.raises(UserError, match='--seeds'):
    plan.read_seeds([part for part in text.split(',') if part] if text else [])


def test_seeds_count_once():
  assert plan.read_seeds(['2', '0', '2']) == [2, 0]


def test_an_unknown_table_is_named():
  with pytest.raises(UserError, match='--table .=XI.*did you mean .*known are I, II'):
    tables.asked_for(['XI'], 'avenue')
  with pytest.raises(UserError, match='--table is missing'):
    tables.asked_for([], 'avenue')


@pytest.mark.parametrize(
  'data_set, result, example',
  [('avenue', 'I', 'fig6'), ('ucsd_ped2', 'II', 'fig6'), ('subway_exit', 'III', 'fig8')],
)
def test_all_has_each_table_once(data_set, result, example):
  names = tables.asked_for(['all', 'V'], data_set)
  assert len(names) == len(set(names))
  assert [name for name in names if name in ('I', 'II', 'III', 'IV')] == [result]
  assert [name for name in names if name in ('fig6', 'fig7', 'fig8')] == [example]


def test_rows_and_claims_of_all_tables_fit_together():
  for name, table in tables.TABLES.items():
    for recipe in table.rows.values():
      assert recipe in tables.RECIPES, name
    for claim in table.claims:
      assert {claim.better, claim.worse} <= set(table.rows), name
