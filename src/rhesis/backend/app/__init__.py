"""The HTTP side of the service: database, models, repositories, services and routers."""
