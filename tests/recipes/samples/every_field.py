#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["pyyaml>=6", "click"]
#
# [tool.runspec]
# schema = "1"
# docs = "A recipe that says all there is to say."
# name = "samples/every-field"
# image = "registry.example/score@sha256:1111111111111111111111111111111111111111111111111111111111111111"
# setup = """
# export PREPARED=yes
# pip install -e .
# """
#
# [tool.runspec.run]
# launch = "torchrun"
# cmd = "python {script} --config {config}"
# workdir = "work"
#
# [tool.runspec.config]
# dir = "./config"
# default = "small"
# format = "omegaconf"
#
# [tool.runspec.resources]
# nodes = 2
# gpus_per_node = "gpu"
#
# [tool.runspec.env]
# HF_HOME = "/cache/hf"
# HF_TOKEN = "host:HF_TOKEN"
# THREADS = 4
# ///
"""Every field."""
