"""Which images of a new data set are trained on, and which ones it is validated by."""

import hashlib


def assign_splits(
    sizes: dict[str, int], earlier: dict[str, str], val_share: float, seed: str
) -> dict[str, str]:
    """``train`` or ``val`` for each group.

    The groups are gone through in the order of a hash of seed and name; one goes to val if that
    brings val's share nearer to the one wanted. Each side gets a group where there are two.

    Args:
        sizes: images of each group.
        earlier: groups that have a split, and keep it.
        val_share: of the images; 0 and 1 put all new groups on one side.
        seed: text that makes the order.
    """
    order = {group: hashlib.sha256(f"{seed}/{group}".encode()).digest() for group in sizes}
    new = sorted(sizes.keys() - earlier.keys(), key=order.__getitem__)
    splits = dict(earlier)
    wanted = val_share * sum(sizes.values())
    val = sum(size for group, size in sizes.items() if earlier.get(group) == "val")
    for group in new:
        nearer = val + sizes[group] / 2 < wanted
        splits[group] = "val" if nearer else "train"
        val += sizes[group] if nearer else 0
    if 0 < val_share < 1 and new and len(splits) > 1:
        for side in {"train", "val"} - set(splits.values()):
            splits[min(new, key=lambda group: (sizes[group], order[group]))] = side
    return splits
