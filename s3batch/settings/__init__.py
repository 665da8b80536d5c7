"""The settings: one table, the parsing of their texts, and the CI's facts about the build."""
