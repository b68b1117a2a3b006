"""The figures that the paper prints (Sun et al. 2021), table by table.

AUC and EER are in percent, frame-level. `None` stands where the paper prints a dash. Where two
tables disagree, as on the Subway sets, each is kept as printed.
"""

from collections.abc import Mapping, Sequence

Pair = tuple[float | None, float | None]
"""AUC and EER; in Table VII frames per second and AUC; in Table X true positives and alarms."""

SETS = (
  'shanghaitech',
  'avenue',
  'ucsd_ped1',
  'ucsd_ped2',
  'subway_entrance',
  'subway_exit',
)

OURS = 'Ours'


def _printed(names: Sequence[str], rows: Mapping[str, str]) -> dict[str, dict[str, Pair]]:
  """Return row -> data set -> pair, from rows as they are printed.

  Args:
    names: data sets of the columns.
    rows: label of a row -> its cells, as in '88.9/18.2 -/-'.
  """
  table = {}
  for label, text in rows.items():
    cells = zip(names, text.split(), strict=True)
    table[label] = {name: _pair(cell) for name, cell in cells if cell != '-/-'}
  return table


def _pair(cell: str) -> Pair:
  first, second = (None if number == '-' else float(number) for number in cell.split('/'))
  return first, second


TABLES: dict[str, dict[str, dict[str, Pair]]] = {
  'I': _printed(
    ('avenue',),
    {
      'Tudor et al.': '80.6/-',
      'Morais et al.': '86.3/-',
      'Luo et al.': '81.7/-',
      'Liu et al.': '84.9/-',
      'Chong and Tay': '80.3/20.7',
      'Hasan et al.': '70.2/25.1',
      'Wang et al.': '85.3/23.9',
      OURS: '88.9/18.2',
    },
  ),
  'II': _printed(
    ('ucsd_ped1', 'ucsd_ped2'),
    {
      'Mahadevan et al.': '74.2/32.0 61.3/36.0',
      'Hasan et al.': '81.0/27.9 90.0/21.7',
      'Chong and Tay': '89.9/12.5 87.4/12.0',
      'Adam et al.': '77.1/38.0 -/42.0',
      'Kim and Grauman': '59.0/- 69.3/-',
      'Mehran et al.': '67.5/31.0 55.6/42.0',
      'Ravanbakhsh et al.': '97.4/8.0 93.5/14.0',
      OURS: '90.2/11.6 91.0/10.9',
    },
  ),
  'III': _printed(
    ('subway_entrance', 'subway_exit'),
    {
      'Mehran et al.': '67.5/31.0 55.6/42.0',
      'Wang et al. [55]': '81.6/22.8 84.9/17.8',
      'Xu et al.': '-/- 87.9/6.8',
      'Hasan et al.': '94.3/26.0 80.7/9.9',
      'Ionescu et al.': '70.6/- 85.7/-',
      'Wang et al. [50]': '-/- 84.5/21.4',
      'Chong and Tay': '84.7/23.7 94.0/9.5',
      OURS: '90.5/22.77 94.8/9.6',
    },
  ),
  'IV': _printed(
    ('shanghaitech',),
    {
      'Hasan et al.': '60.85/-',
      'Luo et al.': '68.00/-',
      'Liu et al.': '72.8/-',
      'Morais et al.': '73.4/-',
      OURS: '74.6/27.6',
    },
  ),
  'V': _printed(
    SETS,
    {
      'w/o 3D convolution': '64.2/33.7 82.2/27.5 83.6/16.1 89.7/17.0 89.3/24.6 82.3/20.8',
      'w/o 3D pooling': '65.1/34.2 81.1/25.7 84.1/18.0 86.7/16.5 87.5/26.4 84.1/21.9',
      'w/o GAN': '70.0/29.2 86.6/20.2 88.7/16.3 90.3/17.8 90.9/23.2 94.6/10.2',
      'w/o recording locations': '-/- 87.9/19.9 90.0/11.7 88.3/12.5 -/- -/-',
      OURS: '74.6/27.6 88.9/18.2 90.2/11.6 91.0/10.9 92.2/21.3 95.0/8.8',
    },
  ),
  'VI': _printed(
    ('avenue',),
    {
      'w/o noise': '86.8/19.3',
      'salt-and-pepper noise': '87.7/20.9',
      'Poisson noise': '84.5/22.1',
      'Gaussian noise': '88.9/18.2',
    },
  ),
  'VII': _printed(
    ('avenue',),
    {
      'Conv-AE': '946.1/70.2',
      'ConvLSTM-AE': '602.7/80.3',
      'Ours (10 layers)': '467.5/88.9',
      'Ours (6 layers)': '729.4/84.8',
    },
  ),
  'VIII': _printed(
    ('avenue', 'ucsd_ped2', 'shanghaitech', 'subway_exit'),
    {
      'Ionescu et al. [13]': '90.4/- 97.8/- 84.9/- -/-',
      'Ionescu et al. [57]': '88.9/- -/- -/- 95.1/-',
      'Ours (w/o object detection)': '88.9/- 96.0/- 74.6/- 94.8/-',
      'Ours (object detection)': '91.2/- 96.9/- 84.0/- 98.8/-',
    },
  ),
  'IX': _printed(
    ('ucsd_ped1', 'ucsd_ped2'),
    {
      'Adam et al. (RGB+optical-flow)': '77.1/38.0 -/42.0',
      'Kim and Grauman (RGB+optical-flow)': '59.0/- 69.3/-',
      'Mehran et al. (RGB+optical-flow)': '67.5/31.0 55.6/42.0',
      'Ravanbakhsh et al. (RGB only)': '84.1/- -/-',
      'Ravanbakhsh et al. (RGB+optical-flow)': '97.4/8.0 93.5/14.0',
      'Ours (RGB only)': '90.2/11.6 91.0/10.9',
      'Ours (RGB+optical-flow)': '95.7/8.8 96.0/9.2',
    },
  ),
  'X': _printed(
    ('ucsd_ped1', 'ucsd_ped2', 'subway_entrance', 'subway_exit', 'avenue'),
    {
      'Lu et al.': '-/- -/- 19/2 -/- -/-',
      'Kim and Grauman': '-/- -/- 56/3 19/2 -/-',
      'Dutta et al.': '-/- -/- 60/5 19/2 -/-',
      'Zhao et al.': '-/- -/- 60/5 19/2 -/-',
      'Medel and Savakis': '40/7 12/1 62/14 19/37 40/2',
      'Hasan et al.': '38/6 12/1 61/15 17/5 45/4',
      'Chong and Tay': '-/- -/- 61/9 18/10 44/12',
      OURS: '40/7 12/1 62/8 19/9 45/11',
    },
  ),
}

TRUE_EVENTS = {
  'ucsd_ped1': 40,
  'ucsd_ped2': 12,
  'subway_entrance': 66,
  'subway_exit': 19,
  'avenue': 47,
}
"""True events of each set, as Table X counts them."""

RESULT_TABLES = ('I', 'II', 'III', 'IV')


def result_table(name: str) -> str | None:
  """Return the number of the table with the result on a data set; None without one."""
  for number in RESULT_TABLES:
    if name in TABLES[number][OURS]:
      return number
  return None


def result(name: str) -> Pair | None:
  """Return the paper's AUC and EER on a data set (Tables I to IV), or None."""
  number = result_table(name)
  return TABLES[number][OURS][name] if number else None
