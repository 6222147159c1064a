"""The site of a repository that has nothing but a catalog. `evaldock build` says which, and the title."""

project = "Evaluation catalog"
extensions = ["generator.site"]
root_doc = "index"

html_title = project
html_theme = "pydata_sphinx_theme"
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
# Texts are shown as their authors wrote them: `--option` must not become a dash.
smartquotes = False
