"""An easier contest.

Raises the target in its own copy of the track and submits the result to the real one.

group: selection
catalogue: 57, 25
status: caught
ends: finding track_digest | finding track_changed | finding own_track
"""


def forge(desk):
    harder = (desk.contest / "track.toml").read_bytes()
    desk.rules(target_val_loss=7.0)
    bundle = desk.bundle("bundle", candidate_losses=(6.51, 6.52, 6.5, 6.53))
    (desk.contest / "track.toml").write_bytes(harder)
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]
