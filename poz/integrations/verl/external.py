"""Registers every objective on rollouts with verl when it is imported, which is what verl does with an `external_lib`."""

from poz.integrations.verl.registry import register

register()
