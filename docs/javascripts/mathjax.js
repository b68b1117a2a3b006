// MathJax for the equations that pymdownx.arithmatex marks.
window.MathJax = {
  tex: { inlineMath: [['\\(', '\\)']], displayMath: [['\\[', '\\]']] },
  options: { ignoreHtmlClass: '.*|', processHtmlClass: 'arithmatex' },
};
