"""Code that draws pictures: the analysis chart and the picture grid."""
