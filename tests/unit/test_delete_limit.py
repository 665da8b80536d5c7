from __future__ import annotations

import pytest

from s3batch.base.errors import SettingsError
from s3batch.plan.delete_limit import DeleteLimit
from s3batch.settings.table import Settings


@pytest.mark.parametrize(
    ("text", "planned", "existing", "exceeded"),
    [
        pytest.param("", 10**9, 10**9, False, id="no limit"),
        pytest.param("10", 10, 100, False, id="as many as allowed"),
        pytest.param("10", 11, 100, True, id="one more"),
        pytest.param("0", 0, 100, False, id="none allowed, none planned"),
        pytest.param("0", 1, 100, True, id="none allowed"),
        pytest.param("10%", 10, 100, False, id="the tenth part"),
        pytest.param("10%", 11, 100, True, id="more than the tenth part"),
        pytest.param("10%", 1, 9, True, id="a part of an object is none"),
        pytest.param("12.5%", 1, 8, False, id="not only whole percents"),
        pytest.param("100%", 8, 8, False, id="everything"),
    ],
)
def test_more_deletes_than_the_limit_are_too_many(text: str, planned: int, existing: int, exceeded: bool) -> None:
    assert DeleteLimit.from_settings(Settings(max_delete=text)).exceeded(planned, existing) is exceeded


@pytest.mark.parametrize("text", ["many", "-1", "10%%", "%", "-5%"])
def test_anything_else_is_a_settings_error(text: str) -> None:
    with pytest.raises(SettingsError, match=f"max_delete cannot be '{text}' \\(from PLUGIN_MAX_DELETE\\)"):
        DeleteLimit.from_settings(Settings(max_delete=text, origins={"max_delete": "PLUGIN_MAX_DELETE"}))
