"""What uWSGI runs: the application that the file of settings describes."""

import os

from pyramid.paster import get_app, setup_logging

setup_logging(os.environ["KINTO_INI"])
application = get_app(os.environ["KINTO_INI"])
