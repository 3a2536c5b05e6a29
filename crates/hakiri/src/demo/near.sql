WITH quakes AS (
  SELECT e.id, e.mag,
         radians(e.location['latitude'])  AS lat,
         radians(e.location['longitude']) AS lon,
         count(*) AS products
  FROM quakes_events e
  JOIN quakes_events_products p ON p.events_id = e.id
  WHERE e.kind = 'earthquake' AND e.mag >= 2
  GROUP BY e.id, e.mag, e.location['latitude'], e.location['longitude']
),
airports AS (
  SELECT iata, name, state,
         radians(CAST(latitude  AS DOUBLE)) AS lat,
         radians(CAST(longitude AS DOUBLE)) AS lon
  FROM airports_airports
  WHERE state <> 'NA'
),
pairs AS (
  SELECT a.iata, a.name, a.state, q.mag, q.products,
         2 * 6371.0 * asin(sqrt(
             power(sin((q.lat - a.lat) / 2), 2)
             + cos(q.lat) * cos(a.lat) * power(sin((q.lon - a.lon) / 2), 2))) AS km
  FROM quakes q CROSS JOIN airports a
),
near AS (
  SELECT state, iata, name,
         count(*)          AS quakes,
         max(mag)          AS strongest,
         round(min(km), 1) AS nearest_km,
         sum(products)     AS products
  FROM pairs
  WHERE km <= 100
  GROUP BY state, iata, name
),
ranked AS (
  SELECT *, row_number() OVER (
              PARTITION BY state ORDER BY quakes DESC, nearest_km, iata) AS place
  FROM near
)
SELECT state, iata, name, quakes, strongest, nearest_km, products
FROM ranked
WHERE place = 1
ORDER BY quakes DESC, state
LIMIT 10
