from rsna.paper.blocks import Lines, Section, Table, Words, to_markdown


def test_sections_become_markdown():
    metrics = Table(("metric", "value"), (("a|b", "1"), ("c", "2\n3")), "Metrics")
    text = to_markdown("T", [Section("One", (Words("plain"), Words("loud", remark=True), metrics)),
                             Section("Two", (Lines("pip install"),))])  # fmt: skip
    table = "Metrics:\n\n| metric | value |\n| --- | --- |\n| a\\|b | 1 |\n| c | 2 3 |"
    assert text == f"# T\n\n## One\n\nplain\n\n**loud**\n\n{table}\n\n## Two\n\n```\npip install\n```\n"
