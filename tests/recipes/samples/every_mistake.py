# /// script
# requires-python = 3.11
# dependencies = ["pyyaml", "--index-url=https://packages.example", 7, "./folder"]
# dependancies = ["click"]
#
# [tool.runspec]
# schema = "9"
# docs = 1
# name = "a name"
# image = "--privileged"
# setup = ["pip install -e ."]
# lunch = "python"
#
# [tool.runspec.run]
# launch = "bogus"
# cmd = "python train.py --config {confg}"
# workdir = 3
# nodes = 2
#
# [tool.runspec.config]
# dir = 1
# default = 2
# format = "hydra"
#
# [tool.runspec.resources]
# nodes = "x"
# gpus_per_node = "all"
#
# [tool.runspec.env]
# "HF HOME" = "/cache"
# DEBUG = true
# ///
"""Every mistake."""
