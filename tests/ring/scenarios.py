"""Scenarios of growth, loss and change, the same for every run: what `compare.py` plays through both ring builders.

A scenario is the JSON of Swift's ring-builder-analyzer: partition power, replicas, overload, a seed, and rounds of
commands. Ids are Swift's: the lowest that is free.
"""

import random


class Scenario:
    def __init__(self, name, power=10, replicas=3, overload=0.0):
        self.name = name
        self.power = power
        self.replicas = replicas
        self.overload = overload
        self.rounds = [[]]
        self.ids = []  # by id: (region, zone, node, disk) or None
        self.gone = []

    def add(self, region, zone, node, disk, weight):
        device = "r%dz%d-10.%d.%d.%d:6200/d%d" % (region, zone, region, zone, node, disk)
        self.rounds[-1].append(["add", device, weight])
        place = (region, zone, node, disk)
        if None in self.ids:
            at = self.ids.index(None)
            self.ids[at] = place
        else:
            at = len(self.ids)
            self.ids.append(place)
        return at

    def site(self, regions, zones, nodes, disks, weight=100):
        for region in regions:
            for zone in zones:
                for node in nodes:
                    for disk in disks:
                        one = weight(region, zone, node, disk) if callable(weight) else weight
                        self.add(region, zone, node, disk, one)
        return self

    def where(self, **wanted):
        names = ("region", "zone", "node", "disk")
        for at, place in enumerate(self.ids):
            if place and all(place[names.index(key)] == value for key, value in wanted.items()):
                yield at

    def weigh(self, ids, weight):
        for at in ids:
            self.rounds[-1].append(["set_weight", at, weight])
        return self

    def remove(self, ids):
        for at in list(ids):
            self.rounds[-1].append(["remove", at])
            self.gone.append(at)
        return self

    def set(self, what, value):
        self.rounds[-1].append(["set_" + what, value])
        return self

    def then(self):
        for at in self.gone:
            self.ids[at] = None
        self.gone = []
        self.rounds.append([])
        return self

    def json(self):
        return {
            "part_power": self.power,
            "replicas": self.replicas,
            "overload": self.overload,
            "random_seed": 1,
            "rounds": self.rounds,
        }


def even(name, zones=3, nodes=3, disks=4, **more):
    return Scenario(name, **more).site([1], range(1, zones + 1), range(1, nodes + 1), range(disks))


def growth():
    one = even("one device more, three zones").then()
    one.add(1, 1, 1, 9, 100)
    yield one
    one = even("one device more, five zones", zones=5, nodes=2).then()
    one.add(1, 5, 1, 9, 100)
    yield one
    one = even("a device raised in four steps")
    for weight in (25, 50, 75, 100):
        one.then()
        if weight == 25:
            at = one.add(1, 2, 1, 9, weight)
        else:
            one.weigh([at], weight)
    yield one
    one = even("a node more").then()
    yield one.site([1], [3], [8], range(4))
    one = even("a fourth zone").then()
    yield one.site([1], [4], range(1, 4), range(4))
    one = even("a third zone", zones=2).then()
    yield one.site([1], [3], range(1, 4), range(4))
    one = even("a fourth zone in three steps")
    for weight in (33, 66, 100):
        one.then()
        if weight == 33:
            one.site([1], [4], range(1, 4), range(4), weight)
        else:
            one.weigh(one.where(zone=4), weight)
    yield one
    one = even("larger disks every year", nodes=2)
    for year, weight in ((1, 150), (2, 300), (3, 600)):
        one.then().site([1], [1, 2, 3], [2 + year], range(4), weight)
    yield one
    one = even("a second region", nodes=2).then()
    yield one.site([2], [1, 2], range(1, 3), range(4))
    one = even("a second region in four steps", nodes=2)
    for weight in (10, 40, 70, 100):
        one.then()
        if weight == 10:
            one.site([2], [1, 2], range(1, 3), range(4), weight)
        else:
            one.weigh(one.where(region=2), weight)
    yield one
    one = even("three hundred devices, and six more", zones=5, nodes=10, disks=6, power=13).then()
    yield one.site([1], [2], [11], range(6))


def unequal():
    weights = {1: 200, 2: 100, 3: 100}
    one = Scenario("zones two to one to one").site([1], [1, 2, 3], range(1, 4), range(4), lambda r, z, n, d: weights[z])
    one.then().add(1, 2, 1, 9, 100)
    yield one
    weights = {1: 500, 2: 300, 3: 200, 4: 100}
    one = Scenario("zones five to three to two to one")
    one.site([1], [1, 2, 3, 4], range(1, 3), range(4), lambda r, z, n, d: weights[z])
    one.then().weigh(one.where(zone=4), 250)
    yield one
    one = even("one huge device").then()
    one.add(1, 1, 1, 9, 1000)
    yield one
    one = even("a device larger than all others", nodes=2).then()
    one.add(1, 1, 1, 9, 5000)
    one.then().remove(one.where(disk=9))
    yield one
    dice = random.Random(5)
    one = Scenario("weights by chance").site([1], range(1, 5), range(1, 4), range(4), lambda r, z, n, d: dice.randint(20, 400))
    one.then().add(1, 1, 1, 9, 200)
    yield one
    dice = random.Random(6)
    one = even("every weight changed", zones=4)
    one.then()
    for at in range(len(one.ids)):
        one.weigh([at], dice.randint(50, 150))
    yield one
    dice = random.Random(7)
    one = even("every weight changed a little", zones=4)
    for _ in range(3):
        one.then()
        for at in range(len(one.ids)):
            one.weigh([at], dice.randint(95, 105))
    yield one
    one = even("one zone, three nodes", zones=1).then()
    one.add(1, 1, 2, 9, 100)
    yield one
    one = even("two zones, three replicas", zones=2).then()
    one.add(1, 2, 2, 9, 100)
    yield one
    one = even("two nodes, three replicas", zones=1, nodes=2).then()
    one.add(1, 1, 2, 9, 300)
    yield one
    sizes = {(1, 1): 8, (1, 2): 4, (2, 1): 2}
    one = Scenario("two regions of unequal zones")
    for (region, zone), disks in sizes.items():
        one.site([region], [zone], range(1, 3), range(disks))
    one.then().site([2], [2], range(1, 3), range(2))
    yield one


def loss():
    one = even("a device drained in four steps")
    for weight in (75, 50, 25, 0):
        one.then().weigh([5], weight)
    one.then().remove([5])
    yield one
    one = even("a node drained").then()
    one.weigh(one.where(zone=2, node=1), 0)
    one.then().remove(one.where(zone=2, node=1))
    yield one
    one = even("a zone drained", zones=4).then()
    one.weigh(one.where(zone=2), 0)
    one.then().remove(one.where(zone=2))
    yield one
    yield even("a device fails").then().remove([7])
    one = even("a node fails").then()
    yield one.remove(one.where(zone=1, node=2))
    one = even("a zone of four fails", zones=4).then()
    yield one.remove(one.where(zone=4))
    one = even("three devices fail one after the other")
    for at in (3, 17, 30):
        one.then().remove([at])
    yield one
    one = even("a device fails and is replaced").then().remove([7]).then()
    one.add(1, 1, 2, 9, 100)
    yield one
    one = even("hardware exchanged node by node", nodes=2)
    for zone in (1, 2, 3):
        one.then().remove(one.where(zone=zone, node=1))
        one.site([1], [zone], [7], range(2), 200)
    yield one
    one = Scenario("a region of three is lost").site([1, 2, 3], [1], range(1, 4), range(4)).then()
    yield one.remove(one.where(region=3))
    one = even("a node away for a while").then()
    one.weigh(one.where(zone=3, node=3), 0).then()
    yield one.weigh(one.where(zone=3, node=3), 100)


def overload_and_replicas():
    weights = {1: 130, 2: 100, 3: 100}
    one = Scenario("unequal zones, a tenth of overload", overload=0.1)
    one.site([1], [1, 2, 3], range(1, 4), range(4), lambda r, z, n, d: weights[z])
    one.then().remove([30])
    yield one
    weights = {1: 300, 2: 100, 3: 100}
    one = Scenario("unequal zones, plenty of overload", overload=2.0)
    one.site([1], [1, 2, 3], range(1, 4), range(4), lambda r, z, n, d: weights[z])
    one.then().add(1, 2, 1, 9, 100)
    yield one
    one = Scenario("overload raised afterwards").site([1], [1, 2, 3], range(1, 4), range(4), lambda r, z, n, d: weights[z])
    one.then().set("overload", 0.1).then().set("overload", 0.5)
    yield one
    yield even("two replicas become three", replicas=2).then().set("replicas", 3)
    yield even("three replicas become two").then().set("replicas", 2)
    yield even("three replicas and a half", zones=4).then().set("replicas", 3.5).then().set("replicas", 3)
    one = even("six fragments on four zones", zones=4, replicas=6).then()
    one.add(1, 1, 1, 9, 100)
    yield one
    one = even("one replica", replicas=1).then()
    one.add(1, 1, 1, 9, 100)
    one.then().remove([0])
    yield one


def churn():
    for seed in (11, 12, 13):
        dice = random.Random(seed)
        one = Scenario("a year of change %d" % (seed - 10))
        one.site([1], range(1, 5), range(1, 4), range(3), lambda r, z, n, d: dice.choice((80, 100, 120)))
        disk = 10
        for _ in range(6):
            one.then()
            living = [at for at, place in enumerate(one.ids) if place]
            doomed = dice.choice(living)
            one.remove([doomed])
            other = dice.choice([at for at in living if at != doomed])
            one.weigh([other], dice.choice((0, 50, 100, 200)))
            one.add(1, dice.randint(1, 4), dice.randint(1, 3), disk, dice.choice((100, 150)))
            disk += 1
        yield one


def all_scenarios():
    for group in (growth, unequal, loss, overload_and_replicas, churn):
        yield from group()
