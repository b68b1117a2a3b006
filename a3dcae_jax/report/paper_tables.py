"""The paper's frame-level AUC and EER in percent (Sun et al. 2021, Tables I to V)."""

PAPER = {
  'ucsd_ped1': (90.2, 11.6),
  'ucsd_ped2': (91.0, 10.9),
  'avenue': (88.9, 18.2),
  'shanghaitech': (74.6, 27.6),
  'subway_entrance': (90.5, 22.8),
  'subway_exit': (94.8, 9.6),
}
