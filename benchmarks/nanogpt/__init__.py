"""The contest against nanoGPT's CPU recipe: our two scripts, their track, and the recipe itself."""
