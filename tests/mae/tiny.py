"""Settings that make the demo's network small enough for tests."""

TINY = (
    "model.width=16",
    "model.depth=1",
    "model.heads=2",
    "model.decoder_width=16",
    "model.decoder_depth=1",
    "model.decoder_heads=2",
    "recipe.batch_size=16",
    "recipe.base_lr=4e-3",
    "recipe.steps=12",
)
