"""Trains a Boxing agent for an hour, evaluates it, films a round. See: tensorboard --logdir runs"""

from dataclasses import replace

import rlkit

recipe = replace(rlkit.find_recipe("boxing"), minutes=60, seed=1)
run = rlkit.train(recipe, runs="runs", callbacks=[rlkit.Progress()])
best = rlkit.load_policy(run.policies / "best.safetensors")
print(rlkit.evaluate(best.policy, best.environment, episodes=100, seed=7).summary)
rlkit.record(best.policy, best.environment, run.videos / "best.mp4", seed=7)
