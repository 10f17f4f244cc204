import idna


def main():
    print("tidepool", idna.__version__)
