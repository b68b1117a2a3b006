"""`tools.conv_rates` times each algorithm of each layer."""

import json

from tools import conv_rates
from tools.conv_rates import Layer


def test_each_algorithm_of_each_convolution_is_timed(tmp_path, monkeypatch, capsys):
  layers = (
    Layer('conv2', (2, 4, 4), 2, 3, pooled=True),
    Layer('deconv4', (2, 4, 4), 3, 2),
  )
  monkeypatch.setattr(conv_rates, 'LAYERS', layers)
  flags = ['--batch=1', '--reps=1', '--conv_algorithms=direct,folded,wrong']
  conv_rates.main([f'--json={tmp_path}/rates.json', *flags])
  rows = json.loads((tmp_path / 'rates.json').read_text())['rows']
  found = [(row['layer'], row['conv_algorithm'], set(row['seconds'])) for row in rows]
  all_parts = {'forward', 'input', 'kernel'}
  assert found == [
    ('conv2', 'direct', all_parts),
    ('conv2', 'folded', all_parts),
    ('conv2', 'pooled', {'as_used', 'float32'}),
    ('deconv4', 'direct', all_parts),
    ('deconv4', 'folded', all_parts),
  ]
  assert 'wrong   ValueError' in capsys.readouterr().out


def test_the_rate_counts_the_products_of_the_direct_method():
  layer = Layer('conv2', (2, 4, 5), 3, 7)
  text = conv_rates.describe(layer, 'direct', 2, {'forward': 1e-9})
  tflops = 2 * 27 * 3 * 7 * (2 * 2 * 4 * 5) / 1e-9 / 1e12
  assert f'{tflops:.0f} TFLOP/s' in text
