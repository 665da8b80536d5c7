"""The settings: one table, how their texts are parsed, and what the CI says of the build."""
