"""A Feast repository with one of each kind; `registry.db` beside it is what `feast apply` of Feast 0.67 made of it.

The tests read the registry alone. To make it anew: put a `data/trips.parquet` with an `at` column here, then
`feast apply`.
"""

from datetime import timedelta

import pandas as pd
from feast import (
    BigQuerySource,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    KafkaSource,
    PushSource,
    RequestSource,
    StreamFeatureView,
    ValueType,
)
from feast.data_format import JsonFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, Map, String, UnixTimestamp

driver = Entity(
    name="driver",
    join_keys=["driver_id"],
    value_type=ValueType.INT64,
    description="Who drives.",
    owner="drivers@rides.example",
)
city = Entity(name="city", join_keys=["city_code"], value_type=ValueType.STRING, tags={"team": "places"})
vendor = Entity(name="vendor-2", join_keys=["vendor id"], value_type=ValueType.STRING)

driver_stats_source = FileSource(
    name="driver_stats",
    path="data/driver_stats.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
    field_mapping={"trips_today": "trips"},
    description="Nightly dump of\nthe drivers' numbers.",
    owner="data@rides.example",
)
city_source = FileSource(name="city", path="data/city.parquet", timestamp_field="at")
driver_city_source = FileSource(name="driver city", path="data/driver_city.parquet", timestamp_field="at")
vendors = BigQuerySource(
    name="vendors",
    query="SELECT `vendor id`, at, rating\nFROM `rides.vendors`",
    timestamp_field="at",
)
pushed = PushSource(name="pushed_city", batch_source=city_source)
moves = KafkaSource(
    name="moves",
    kafka_bootstrap_servers="localhost:9092",
    topic="moves",
    timestamp_field="at",
    message_format=JsonFormat(schema_json="driver_id int, at timestamp, speed double"),
    batch_source=driver_city_source,
)
request = RequestSource(name="trip_request", schema=[Field(name="distance", dtype=Float64)])

driver_stats = FeatureView(
    name="driver_stats",
    entities=[driver],
    ttl=timedelta(days=2),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="conv_rate", dtype=Float32, description="Share of offers\ntaken."),
        Field(name="rating", dtype=Float64),
        Field(name="trips", dtype=Int64),
        Field(name="shift", dtype=Int32),
        Field(name="licence", dtype=String),
        Field(name="active", dtype=Bool),
        Field(name="since", dtype=UnixTimestamp),
        Field(name="embedding", dtype=Array(Float32)),
        Field(name="photo", dtype=Bytes),
        Field(name="extras", dtype=Map),
    ],
    source=driver_stats_source,
    description='What a driver "did" lately.',
    owner="drivers@rides.example",
    tags={"team": "drivers"},
)
city_state = FeatureView(
    name="city",
    entities=[city],
    ttl=timedelta(hours=36),
    schema=[Field(name="city_code", dtype=String), Field(name="demand", dtype=Float64)],
    source=pushed,
)
driver_in_city = FeatureView(
    name="driver_in_city",
    entities=[driver, city],
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="city_code", dtype=String),
        Field(name="visits", dtype=Int64),
    ],
    source=driver_city_source,
    online=False,
)
vendor_rating = FeatureView(
    name="class",
    entities=[vendor],
    ttl=timedelta(seconds=90),
    schema=[Field(name="vendor id", dtype=String), Field(name="rating", dtype=Float64)],
    source=vendors,
)
world = FeatureView(
    name="world",
    entities=[],
    schema=[Field(name="oil_price", dtype=Float64)],
    source=FileSource(name="world", path="data/world.parquet", timestamp_field="at"),
)
pictures = FeatureView(
    name="pictures",
    entities=[driver],
    schema=[Field(name="driver_id", dtype=Int64), Field(name="photo", dtype=Bytes)],
    source=driver_stats_source,
)
driver_moves = StreamFeatureView(
    name="driver_moves",
    entities=[driver],
    ttl=timedelta(hours=1),
    schema=[Field(name="driver_id", dtype=Int64), Field(name="speed", dtype=Float64)],
    source=moves,
    timestamp_field="at",
)


@on_demand_feature_view(sources=[driver_stats, request], schema=[Field(name="far", dtype=Float64)])
def trip(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"far": inputs["distance"] * inputs["conv_rate"]})


late = FeatureService(
    name="late",
    features=[driver_stats[["conv_rate", "trips"]], city_state.with_name("here"), trip, world],
    description="What the late model reads.",
    owner="models@rides.example",
)
