SECRET_KEY = "of no use to anyone"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
