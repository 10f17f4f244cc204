from setuptools import setup

setup(name="tiny_model", version="0.0.1", packages=["tiny_model"])
