"""Stable-Baselines3 and sb3-contrib inside the workbench.

`vec_env` shows them any Gymnasium vector environment. `config` names one of their algorithms with
its settings, `settings` turns those into arguments, and `training` lets it learn between rlkit's
callbacks. `policy` and `archive` make policies of rlkit out of what they save. The libraries are
imported only once one of their algorithms is asked for.
"""
