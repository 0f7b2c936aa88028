"""No key is left without a look: news that reaches the store on a by-way wakes its ModelDeployment, too."""

from slipway.cluster import TryLater
from tests.unit.loop.test_watch import KEY, Script, play, service


async def test_what_a_list_brought_before_it_broke_off_is_news() -> None:
    pages = [([service("a", 5)], "10"), TryLater("reset")]
    script = Script([pages, [([service("a", 5)], "11")]], [])
    _, told, causes, _ = await play(script)
    assert causes == ["error"]
    assert told.changed == [KEY], "the second list finds it in the store already, and would tell nobody"
