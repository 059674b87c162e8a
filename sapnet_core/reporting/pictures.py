"""Pictures in notebooks: the words that go with them, in titles and for readers who cannot see them."""

import matplotlib.pyplot as plt

__all__ = ["DATASET_TITLES", "picture"]

# the names of the datasets as the paper prints them, for titles and legends
DATASET_TITLES = {"mtl-aqa": "MTL-AQA", "finediving": "FineDiving", "rg": "Rhythmic Gymnastics", "finefs": "FineFS"}


def picture(alt: str) -> None:
    """Show the current figure with a text alternative, and close it; use it in place of `plt.show()`.

    The text is stored in the metadata of the output, under the key `alt`, from which pages take it.

    Args:
        alt: what the picture shows, in one or two sentences without numbers that a new run would change.

    Raises:
        ValueError: the text is empty, or there is no figure to show.
    """
    from IPython.display import display

    if not alt.strip():
        raise ValueError("a picture needs a text alternative: say in a sentence what it shows")
    if not plt.get_fignums():
        raise ValueError("there is no figure to show: draw one in this cell first")
    figure = plt.gcf()
    display(figure, metadata={"alt": " ".join(alt.split())})
    plt.close(figure)
